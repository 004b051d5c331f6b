from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from llm4gen_model.cli import commands as model_commands
from pipelines.reproduce.__main__ import default_jobs, reproduce
from pipelines.reproduce.plan import Job, cache_jobs, default_choices, final_jobs, probe_jobs, sweep_jobs
from pipelines.reproduce.preset import Choice, load_preset
from pipelines.reproduce.progress import duration, is_done, mark, seconds_of

PRESET = load_preset("mini", quick=False)
LOW, HIGH = PRESET.sweep.learning_rates


def test_the_sweeps_first_seed_is_not_trained_again(tmp_path: Path) -> None:
    swept = {job.name: job for job in sweep_jobs(PRESET, tmp_path)}
    choices = default_choices(PRESET) | {"c": Choice(HIGH, 5.0)}
    final = {job.name: job for job in final_jobs(PRESET, tmp_path, choices)}
    assert final[f"train/c-lr{HIGH}-seed0"] == swept[f"train/c-lr{HIGH}-seed0"]
    assert f"train/c-lr{HIGH}-seed4" in final
    assert f"train/c-lr{LOW}-seed4" not in final
    drawn = final[f"test/c-lr{HIGH}-seed4"].words
    assert drawn[drawn.index("--guidance-scale") + 1] == "5.0"
    assert final["test/a"].words[final["test/a"].words.index("--model") + 1] == "mini"


def test_arms_that_follow_anothers_choice_are_not_swept(tmp_path: Path) -> None:
    assert not [job for job in sweep_jobs(PRESET, tmp_path) if job.name.startswith("train/f-")]
    choices = default_choices(PRESET) | dict.fromkeys(("e-minilm", "f", "e-minilm-1of8"), Choice(HIGH, 5.0))
    final = {job.name for job in final_jobs(PRESET, tmp_path, choices)}
    assert {f"train/f-lr{HIGH}-seed0", f"train/e-minilm-1of8-lr{HIGH}-seed0"} <= final


def test_a_part_of_arms_whose_choice_is_given_has_no_sweep(tmp_path: Path) -> None:
    given = {"choice": {"learning_rate": HIGH, "guidance_scale": 5.0}}
    alone = replace(PRESET, arms={**PRESET.arms, "f": PRESET.arms["f"] | given}, only=("f",))
    assert sweep_jobs(alone, tmp_path) == []
    final = {job.name: job.words for job in final_jobs(alone, tmp_path, default_choices(alone))}
    assert f"train/f-lr{HIGH}-seed0" in final
    assert "5.0" in final[f"test/f-lr{HIGH}-seed0"]


def test_every_training_differs_from_the_common_settings_by_its_arm_alone(tmp_path: Path) -> None:
    jobs = {job.name: job for job in final_jobs(PRESET, tmp_path, default_choices(PRESET))}
    words = jobs[f"train/g-lr{LOW}-seed0"].words
    sets = {words[i + 1] for i, word in enumerate(words) if word == "--set"}
    assert {'llm.name="minilm"', 'cam.kind="ella"', 'train="cam+unet"'} < sets
    assert not any(setting.startswith("llm=") for setting in sets)  # the others of the preset stay


def test_language_models_are_cached_once_each(tmp_path: Path) -> None:
    folders = [job.out.parent.name for job in cache_jobs(PRESET, tmp_path)]
    assert sorted(folders) == sorted(("none", "clip", "minilm-random", "minilm", "smollm2", "scene-graph"))
    refinement = load_preset("refinement", quick=False)
    assert len(cache_jobs(refinement, tmp_path)) == 6  # one language model, six sorts of captions
    assert [job.name for job in probe_jobs(PRESET, tmp_path)] == ["probes/twins", "probes/before"]


def test_a_part_of_the_arms_is_explained_by_its_own(tmp_path: Path) -> None:
    names = {}
    for only in (("c", "l"), ("c", "e-smollm2")):
        part = load_preset("mini", quick=False, sets=(f"only={list(only)}",))
        names[only] = {job.name: job for job in final_jobs(part, tmp_path, default_choices(part))}
    assert not [name for name in names["c", "l"] if name.startswith("probes/")]
    after, looking = (names["c", "e-smollm2"][f"probes/{name}"].words for name in ("after", "attention"))
    assert [word for word in after if word.startswith("model:")] == [f"model:{looking[looking.index('--model') + 1]}"]
    assert "e-smollm2" in " ".join(after)


def test_options_are_those_of_the_commands(tmp_path: Path) -> None:
    jobs = [*cache_jobs(PRESET, tmp_path), *sweep_jobs(PRESET, tmp_path)]
    for job in jobs:
        if job.words[0] == "llm4gen-model":
            command = model_commands.commands[job.words[1]]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in job.words if word.startswith("--")} <= known, job.name


def test_a_job_is_done_while_its_output_is_there_and_its_command_the_same(tmp_path: Path) -> None:
    out = tmp_path / "made"
    job = Job("train/c", ("llm4gen-model", "train"), out, out, "train.c", 100)
    (tmp_path / "jobs").mkdir()
    assert not is_done(job, tmp_path)
    out.touch()
    assert not is_done(job, tmp_path)
    mark(job, tmp_path, 20.0, finished=False)
    assert not is_done(job, tmp_path)
    mark(job, tmp_path, 36.0, finished=True)
    assert is_done(job, tmp_path)
    assert not is_done(replace(job, words=("llm4gen-model", "cache")), tmp_path)
    out.unlink()
    assert not is_done(job, tmp_path)


def test_times_that_were_measured_replace_those_of_the_preset(tmp_path: Path) -> None:
    job, other = (Job(f"train/{name}", (), tmp_path, tmp_path, f"train.{name}", 100) for name in "cl")
    (tmp_path / "jobs").mkdir()
    costs = {"start": 6.0, "train": 1.0}
    assert seconds_of([job, other], tmp_path, costs) == [106.0, 106.0]
    mark(job, tmp_path, 20.0, finished=False)
    assert seconds_of([job, other], tmp_path, costs) == [86.0, 106.0]  # the rest of it
    mark(job, tmp_path, 36.0, finished=True)
    assert seconds_of([job, other], tmp_path, costs) == [56.0, 56.0]
    assert seconds_of([other], tmp_path, {**costs, "train.l": 2.0}) == [206.0]
    assert [duration(s) for s in (40, 420, 7500)] == ["40 s", "7 min", "2 h 05 min"]


def test_a_dry_run_writes_nothing_and_tells_cost_and_commands(tmp_path: Path) -> None:
    result = CliRunner().invoke(reproduce, ["--preset", "mini", "--quick", "--dry-run", "--out", str(tmp_path / "x")])
    assert result.exit_code == 0, result.output
    assert "$ llm4gen-model train --config" in result.output
    assert "0 done" in result.output
    assert " with " in result.output.splitlines()[-2]
    assert not (tmp_path / "x").exists()


def test_as_many_commands_at_once_as_cores_for_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    assert [default_jobs(replace(PRESET, threads=threads)) for threads in (1, 2, 3, 8)] == [4, 2, 1, 1]
    assert default_jobs(replace(PRESET, device="cuda")) == 1
