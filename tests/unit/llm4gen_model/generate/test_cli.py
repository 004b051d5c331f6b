from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from llm4gen_data.errors import UsageError
from llm4gen_model.cli import commands


def resolved(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(commands, [*arguments, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    values: dict[str, object] = yaml.safe_load(result.output)
    return values


def test_flags_of_generate_reach_the_configuration_and_back(tmp_path: Path) -> None:
    flags = ["--model", "a", "--model", "b", "--prompts", "scenes", "--out", str(tmp_path / "out")]
    values = resolved("generate", *flags, "--upsample", "m", "--upsample-url", "http://host/v1", "--compile")
    assert values["models"] == ["a", "b"]
    assert values["compile"] is True
    assert values["offload"] is False
    upsample = values["upsample"]
    assert isinstance(upsample, dict)
    assert (upsample["model"], upsample["engine"]["base_url"]) == ("m", "http://host/v1")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    assert resolved("generate", "--config", str(file), "--out", str(tmp_path / "out")) == values
    assert not (tmp_path / "out").exists()


def test_flags_of_attention_reach_the_configuration(tmp_path: Path) -> None:
    flags = ["--model", "a", "--prompt", "a red cube", "--out", str(tmp_path / "a.png"), "--words", "red, red cube"]
    values = resolved("attention", *flags, "--layers", "mid,up_blocks.1", "--steps", "3")
    assert values["words"] == ["red", "red cube"]
    assert values["layers"] == ["mid", "up_blocks.1"]
    assert values["num_inference_steps"] == 3
    with pytest.raises(UsageError, match="prompt"):
        resolved("attention", "--model", "a", "--out", str(tmp_path / "a.png"))
