from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from llm4gen_data.runs import read_json
from llm4gen_data.scenes.facts import Facts, ObjectFact, facts_to_json
from pipelines.reproduce import choose
from pipelines.reproduce.plan import read_choices
from pipelines.reproduce.preset import Choice, Claim, Preset, Sweep

PRESET = Preset(
    title="Two arms",
    arms={
        "a": {"title": "base"},
        "c": {"title": "control", "train": {"train": "unet"}},
        "f": {"title": "follower", "train": {"train": "unet"}, "choice_of": "c"},
    },
    claim=Claim(("c",), ("a",), "a"),
    sweep=Sweep(learning_rates=(1e-4, 1e-3), guidance_scales=(2.0, 4.0)),
)
# bound by model and guidance
BOUND = {("mini", 2.0): 0.1, ("mini", 4.0): 0.1, ("c-lr0.0001-seed0", 2.0): 0.2}
BOUND |= {("c-lr0.0001-seed0", 4.0): 0.3, ("c-lr0.001-seed0", 2.0): 0.5, ("c-lr0.001-seed0", 4.0): 0.4}


def finished(scale: float, all_bound: float) -> Any:
    """A scored sweep of two prompts, with three objects and with one; the latter is always right."""
    rows = []
    for (model, own_scale), value in BOUND.items():
        if own_scale == scale:
            rows += [{"model": model, "prompt_id": p, "kind": "bound", "value": value} for p in ("three", "one")]
            rows.append({"model": model, "prompt_id": "three", "kind": "all_bound", "value": all_bound})
            rows.append({"model": model, "prompt_id": "one", "kind": "all_bound", "value": 1.0})
    specs = {"three": 3, "one": 1}
    prompts = {name: {"spec": facts_to_json(Facts((ObjectFact("star"),) * n))} for name, n in specs.items()}
    return SimpleNamespace(scores=pd.DataFrame(rows), prompts=prompts)


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What `all_bound` is on the prompt of three objects, to be changed by a test."""
    reached = {"all_bound": 0.06}
    monkeypatch.setattr(choose, "read_run", lambda folder: finished(float(folder.name[1:]), reached["all_bound"]))
    return reached


@pytest.mark.usefixtures("sweep")
def test_the_best_rate_and_guidance_of_each_arm_are_chosen_once(tmp_path: Path) -> None:
    choices = choose.chosen(PRESET, tmp_path)
    assert choices == {"a": Choice(None, 2.0), "c": Choice(1e-3, 2.0), "f": Choice(1e-3, 2.0)}  # of equals the first
    written = read_json(tmp_path / "choices.json")
    assert written["primary_kind"] == "all_bound"
    assert len(written["sweep"]) == 2 + 4
    assert read_choices(tmp_path) == choices
    assert choose.chosen(replace(PRESET, sweep=Sweep(learning_rates=(1e-4,))), tmp_path) == choices  # kept


def test_an_arm_alone_takes_the_choice_that_is_given(tmp_path: Path) -> None:
    given = {**PRESET.arms["f"], "choice": {"learning_rate": 1e-3, "guidance_scale": 4.0}}
    choices = choose.chosen(replace(PRESET, arms={**PRESET.arms, "f": given}, only=("f",)), tmp_path)
    assert choices == {"f": Choice(1e-3, 4.0)}
    written = read_json(tmp_path / "choices.json")
    assert written["sweep"] == []
    assert written["reached_on_validation"] == {"all_bound": 0.0, "bound": 0.0}  # it leaves the end point to others


def test_an_end_point_at_the_floor_gives_way_to_the_next(tmp_path: Path, sweep: dict[str, float]) -> None:
    sweep["all_bound"] = 0.04  # the prompt of one object, always right, does not count
    choose.chosen(PRESET, tmp_path)
    written = read_json(tmp_path / "choices.json")
    assert written["primary_kind"] == "bound"
    assert written["reached_on_validation"] == {"all_bound": 0.04, "bound": 0.5}
