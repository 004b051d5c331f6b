"""Parts of an experiment, made apart, are one experiment again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from pipelines.reproduce.__main__ import reproduce
from pipelines.reproduce.merge import merge_records
from pipelines.reproduce.report import read_record, write_report
from tests.unit.pipelines.reproduce.toy_records import write_toy_record

PARTS = (("s", "c", "r"), ("e", "e-half"), ("o",))


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / f"part-{number}" for number in range(len(PARTS))]
    for folder, arms in zip(folders, PARTS, strict=True):
        write_toy_record(folder, arms)
    return folders


def test_parts_give_the_numbers_of_the_whole(parts: list[Path], tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    write_toy_record(whole)
    merge_records(parts, merged)
    for record in (whole, merged):
        told = read_json(record / "choices.json")
        write_json(
            record / "choices.json", {**told, "primary_kind": "bound", "reached_on_validation": {"all_bound": 0}}
        )
        write_report(record, record)
    numbers, own = (read_json(record / "results.json") for record in (whole, merged))
    for key in ("arms", "comparisons", "claim", "by_category", "efficiency"):
        assert own[key] == numbers[key], key
    examples = pd.read_parquet(merged / "examples.parquet")
    assert set(examples["arm"]) == {"c", "e", "o"}
    assert (merged / "examples.png").read_bytes() == (whole / "examples.png").read_bytes()
    assert {run["run"] for run in own["runs"]} == {run["run"] for run in numbers["runs"]}


def test_the_end_point_follows_from_what_all_arms_reached(parts: list[Path], tmp_path: Path) -> None:
    merge_records(parts[:2], tmp_path / "merged")
    assert read_json(tmp_path / "merged" / "choices.json")["primary_kind"] == "bound"
    merge_records([tmp_path / "merged", parts[2]], tmp_path / "merged")  # the oracle alone is off the floor
    assert read_json(tmp_path / "merged" / "choices.json")["primary_kind"] == "all_bound"
    assert list(read_record(tmp_path / "merged").preset.chosen_arms()) == ["c", "r", "s", "e", "o", "e-half"]


def test_a_part_without_an_arm_of_the_claim_has_a_report_without_pictures(tmp_path: Path) -> None:
    write_toy_record(tmp_path / "part", ("e-half",))
    write_report(tmp_path / "part", tmp_path / "out")
    assert not (tmp_path / "out" / "examples.png").exists()
    text = (tmp_path / "out" / "results.md").read_text()
    assert "examples.png" not in text
    assert "Arms of the preset that were not run: c, r, s, e, o." in text


def test_probes_of_all_encoders_stand_together(parts: list[Path], tmp_path: Path) -> None:
    for part, encoder in zip(parts, ("c", "e", "e"), strict=True):
        rows = [{"encoder": name, "task": part.name} for name in ("commonest answer", encoder)]
        write_json(part / "after.json", {"encoders": [encoder], "rows": rows, "cut_share": {encoder: {"dense": 0.0}}})
    merge_records(parts, tmp_path / "merged")
    after = read_json(tmp_path / "merged" / "after.json")
    assert after["encoders"] == ["c", "e"]
    assert [row["encoder"] for row in after["rows"]] == ["commonest answer", "c", "e"]
    assert set(after["cut_share"]) == {"c", "e"}


def test_of_arms_the_settings_count_that_they_ran_with(parts: list[Path], tmp_path: Path) -> None:
    plain = yaml.safe_load((parts[2] / "preset.yaml").read_text())
    plain["arms"]["o"]["title"] = "told by a prophet"
    plain["arms"]["c"]["title"] = "not run in this part"
    (parts[2] / "preset.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    merge_records(parts, tmp_path / "merged")
    arms = read_record(tmp_path / "merged").preset.chosen_arms()
    assert list(arms) == ["c", "r", "s", "e", "o", "e-half"]
    assert arms["o"].title == "told by a prophet"
    assert arms["c"].title == "c"


@pytest.mark.parametrize("rate", [1e-3, 5e-4])
def test_an_arm_may_be_told_what_another_part_chose(parts: list[Path], tmp_path: Path, rate: float) -> None:
    choice = {"learning_rate": rate, "guidance_scale": 4.0}
    plain = yaml.safe_load((parts[2] / "preset.yaml").read_text())
    plain["arms"]["o"] |= {"choice_of": "e", "choice": choice}
    (parts[2] / "preset.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    told = read_json(parts[2] / "choices.json")
    write_json(parts[2] / "choices.json", {**told, "choices": {"o": choice}})
    if rate == 1e-3:
        merge_records(parts, tmp_path / "merged")
        assert read_record(tmp_path / "merged").preset.chosen_arms()["o"].choice_of == "e"
        return
    with pytest.raises(UserError, match=r"'o' ran with .*0\.0005.*: expected what 'e' chose, .*0\.001"):
        merge_records(parts, tmp_path / "merged")


def other_preset(part: Path) -> None:
    plain = yaml.safe_load((part / "preset.yaml").read_text())
    (part / "preset.yaml").write_text(yaml.safe_dump({**plain, "n_prompts": 7}))


def other_prompts(part: Path) -> None:
    prompts = pd.read_parquet(part / "prompts.parquet")
    prompts.iloc[1:].to_parquet(part / "prompts.parquet")


def an_arm_again(part: Path) -> None:
    plain = yaml.safe_load((part / "preset.yaml").read_text())
    (part / "preset.yaml").write_text(yaml.safe_dump({**plain, "only": ["e", "c"]}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_preset, "n_prompts: 480 -> 7"),
        (other_prompts, "other prompts than in"),
        (an_arm_again, "arm 'c' is in .*part-0 already"),
    ],
)
def test_what_does_not_belong_together_is_told(
    parts: list[Path], tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(parts[1])
    with pytest.raises(UserError, match=message):
        merge_records(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_command_takes_several_records(parts: list[Path], tmp_path: Path) -> None:
    line: list[Any] = [word for part in parts for word in ("--record", str(part))]
    assert "in --out DIR" in CliRunner().invoke(reproduce, line).output
    result = CliRunner().invoke(reproduce, [*line, "--out", str(tmp_path / "merged")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "merged" / "results.md").is_file()
