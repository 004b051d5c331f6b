from pathlib import Path

import pytest

from pipelines.reproduce.plan import cache_jobs, data_jobs, default_choices, final_jobs, probe_jobs, sweep_jobs
from pipelines.reproduce.preset import load_preset
from pipelines.reproduce.schedule import needs, next_job, seconds_side_by_side
from tests.unit.pipelines.reproduce.toy_jobs import toy_job

PRESET = load_preset("mini", quick=False)
LOW, HIGH = PRESET.sweep.learning_rates


def test_a_command_needs_those_that_make_what_it_names(tmp_path: Path) -> None:
    first = [*data_jobs(PRESET, tmp_path), *probe_jobs(PRESET, tmp_path), *cache_jobs(PRESET, tmp_path)]
    first += sweep_jobs(PRESET, tmp_path)
    plan = list({job.name: job for job in (*first, *final_jobs(PRESET, tmp_path, default_choices(PRESET)))}.values())
    needed = needs(plan)
    assert needed["data/pairs"] == needed["data/pairs-750"] == needed["probes/before"] == set()
    assert needed["cache/smollm2-e-smollm2"] == {"data/pairs"}
    assert needed[f"train/c-lr{HIGH}-seed0"] == {"data/pairs", "cache/none-b"}
    assert needed[f"train/e-minilm-1of8-lr{LOW}-seed0"] == {"data/pairs-750", "cache/minilm-e-minilm"}
    assert needed["sweep/c-g5"] == {f"train/c-lr{LOW}-seed0", f"train/c-lr{HIGH}-seed0"}
    assert needed["sweep/scores-g5"] == {job.name for job in plan if job.name.endswith("-g5")} - {"sweep/scores-g5"}
    assert needed[f"test/c-lr{LOW}-seed4"] == {f"train/c-lr{LOW}-seed4"}
    assert f"train/r-lr{LOW}-seed0" in needed["probes/after"]
    assert len(needed["test/scores"]) == sum(job.name.startswith("test/") for job in plan) - 1


def test_those_that_fill_one_cache_wait_for_each_other(tmp_path: Path) -> None:
    preset = load_preset("refinement", quick=False)
    caches = cache_jobs(preset, tmp_path)
    needed = needs([*data_jobs(preset, tmp_path), *caches])
    for number, job in enumerate(caches):
        assert {earlier.name for earlier in caches[:number]} <= needed[job.name]


def test_the_first_that_is_ready_and_fits_runs_next(tmp_path: Path) -> None:
    a, wide = toy_job(tmp_path, "a"), toy_job(tmp_path, "wide", n_processes=2)
    b, c = toy_job(tmp_path, "b", reads=a), toy_job(tmp_path, "c")
    needed = needs([a, wide, b, c])
    assert needed == {"a": set(), "wide": set(), "b": {"a"}, "c": set()}
    assert next_job([a, wide, b, c], needed, [], 2) == a
    assert next_job([wide, b, c], needed, [a], 2) == c
    assert next_job([wide, b], needed, [a, c], 2) is None
    assert next_job([wide, b], needed, [], 1) == wide


def test_time_side_by_side_allows_for_order_and_room(tmp_path: Path) -> None:
    a, c = toy_job(tmp_path, "a"), toy_job(tmp_path, "c")
    b, wide = toy_job(tmp_path, "b", reads=a), toy_job(tmp_path, "wide", n_processes=2)
    seconds = {"a": 10.0, "b": 10.0, "c": 15.0, "wide": 5.0}
    assert seconds_side_by_side([a, b, c, wide], seconds, 1) == 40.0
    assert seconds_side_by_side([a, b, c, wide], seconds, 2) == 25.0
    assert seconds_side_by_side([b, c], seconds, 2, {a: 4.0}) == 15.0
    assert seconds_side_by_side([], seconds, 2) == pytest.approx(0.0)
