from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm4gen_data.config import load_config
from llm4gen_data.errors import UsageError
from llm4gen_model.training.config import load_train_config
from pipelines.reproduce.__main__ import phases
from pipelines.reproduce.plan import run_name
from pipelines.reproduce.preset import PRESETS, Preset, load_preset
from pipelines.reproduce.side_by_side import Pace, seconds_left

NAMES = [("mini", False), ("mini", True), ("refinement", False), ("refinement", True)]
HOUR_S = 3600


@pytest.mark.parametrize(("name", "quick"), NAMES)
def test_presets_are_sound_and_keep_to_their_time(name: str, quick: bool, tmp_path: Path) -> None:
    preset = load_preset(name, quick=quick)
    arms = preset.chosen_arms()
    for arm in arms.values():
        if arm.train:  # every key is one of TrainConfig, every value one that it takes
            flags: dict[str, Any] = {**preset.train, **arm.train, "data": tmp_path, "out": tmp_path}
            nested: dict[str, Any] = {
                key: {**preset.train.get(key, {}), **flags[key]} for key in ("llm", "cam") if key in flags
            }
            load_train_config(None, (), flags | nested)
    named = {*preset.claim.arms, preset.claim.control, *sum(preset.comparisons, ())}
    assert named <= set(arms)
    left_s = seconds_left(*phases(preset, tmp_path), [], tmp_path, Pace(2, preset.costs))
    assert left_s < (1 if quick else 10) * HOUR_S  # what is promised: an hour, and 15


def test_the_arms_of_the_claim_are_all_there() -> None:
    preset = load_preset("mini", quick=False)
    arms = preset.chosen_arms()
    assert {"a", "b", "c", "l", "s", "r", "e-minilm", "e-smollm2", "f", "d", "g", "o"} <= set(arms)
    assert {name for name, arm in arms.items() if arm.seeds >= 5} == {"c", "l", "s", "r", "e-minilm", "e-smollm2"}
    assert preset.primary.kinds[0] == "all_bound"
    assert (preset.primary.min_objects, preset.primary.max_objects) == (3, 4)


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of mini, refinement"):
        load_preset("nini", quick=False)
    preset = load_preset("mini", quick=False)
    wrong = {**preset.arms, "c": {"title": "c", "trains": {}}}
    with pytest.raises(UsageError, match="unknown key trains; did you mean train"):
        replace(preset, arms=wrong).chosen_arms()
    with pytest.raises(UsageError, match="'z' is no arm"):
        replace(preset, only=("z",)).chosen_arms()
    with pytest.raises(UsageError, match=r"'e-minilm' is no arm here: expected one of f, or arms\.f\.choice="):
        replace(preset, only=("f",)).chosen_arms()
    own = tmp_path / "own.yaml"
    own.write_text((PRESETS / "mini.yaml").read_text())
    with pytest.raises(UsageError, match=r"own-quick\.yaml is not there"):
        load_preset(str(own), quick=True)
    assert load_config(Preset, own) == preset


def test_names_tell_arm_rate_and_seed() -> None:
    assert run_name("c", 3e-4, 2) == "c-lr0.0003-seed2"
    assert run_name("a", None, 0) == "a"
