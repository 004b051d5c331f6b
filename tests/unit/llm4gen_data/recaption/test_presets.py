"""Presets: every one is a whole, valid configuration of a run."""

import re

import pytest

from llm4gen_data.config import load_config
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.config import RecaptionConfig, check
from llm4gen_data.recaption.presets import PRESETS, preset_values


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_valid_run(name: str) -> None:
    config = load_config(RecaptionConfig, flags={"source": "images", **preset_values(name)})
    check(config)
    assert config.model == PRESETS[name].model
    assert config.instructions == ("paper",)
    assert config.chat_format is not None
    assert config.chat_format.count("{instruction}") == 1
    assert config.chat_format.index("{instruction}") > 0, "the image comes first"
    assert config.revision is None or re.fullmatch(r"[0-9a-f]{40}", config.revision)


def test_other_names_have_no_preset() -> None:
    assert preset_values("owner/model") == {}


def test_changing_what_a_preset_gave_leaves_the_preset_as_it_is() -> None:
    preset_values("llava-1.5-7b")["engine"]["max_num_seqs"] = 1
    assert preset_values("llava-1.5-7b")["engine"]["max_num_seqs"] == 128


@pytest.mark.parametrize("model", ["vlm_mini", "clip-mini"])
def test_a_name_that_cannot_caption_is_refused_with_those_that_can(model: str) -> None:
    with pytest.raises(UserError, match=rf"model '{model}' is unknown as a captioner: .*qwen2.5-vl-3b") as error:
        check(RecaptionConfig("images", captioner="transformers", model=model))
    assert "unet-mini" not in str(error.value)
    assert "did you mean 'vlm-mini'" in str(error.value)
    check(RecaptionConfig("images", captioner="endpoint", model=model))
