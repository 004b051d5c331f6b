"""Recipes: every step is a command that its program takes, and a dry run tells what all of it costs."""

import importlib
import shlex
import time
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from torch.distributed.run import get_args_parser

from benchmarks.config import BenchConfig
from llm4gen_data.config import load_config
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.runs import read_json
from llm4gen_model.training.config import load_train_config
from pipelines.labels.__main__ import labels
from pipelines.mini import train_clip
from pipelines.reproduce import commands
from pipelines.reproduce.__main__ import reproduce
from pipelines.reproduce.preset import preset_file
from pipelines.reproduce.progress import COSTS, duration, is_done
from pipelines.reproduce.recipe import Recipe, costs_of, is_recipe, load_recipe, recipe_jobs, run_recipe

ROOT = Path(__file__).parents[4]
GROUPS = {"llm4gen-data": "llm4gen_data.cli", "llm4gen-model": "llm4gen_model.cli", "llm4gen-bench": "benchmarks.cli"}
SCRIPTS: dict[str, click.Command] = {"pipelines.mini.train_clip": train_clip.main, "pipelines.labels": labels}
NAMES = ("sd15", "sdxl")
RECIPES = (*NAMES, "trust")
STEPS = [(name, step.name) for name in RECIPES for step in load_recipe(preset_file(name)).steps]


def test_recipes_are_told_from_experiments() -> None:
    assert all(is_recipe(preset_file(name)) for name in RECIPES)
    assert not any(is_recipe(preset_file(name)) for name in ("mini", "refinement"))


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_every_step_is_a_line_that_its_command_takes(
    name: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what the commands before it make is not there yet
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    (job,) = [job for job in recipe_jobs(load_recipe(preset_file(name)), tmp_path) if job.name == step]
    words = list(job.words)
    if words[0] == "torchrun":
        launcher = get_args_parser().parse_args(words[1:])
        assert (launcher.standalone, launcher.nproc_per_node, launcher.no_python) == (True, "8", True)
        words = [launcher.training_script, *launcher.training_script_args]
    command: click.Command | None
    if words[:2] == ["python", "-m"]:
        command, arguments = SCRIPTS[words[2]], words[3:]
    else:
        command, arguments = importlib.import_module(GROUPS[words[0]]).commands, words[1:]
    while isinstance(command, click.Group):
        _, command, arguments = command.resolve_command(click.Context(command), arguments)
    assert command is not None
    given = command.make_context(command.name, arguments).params
    if command.name in ("cache", "train"):
        flags = {"data": given["data"], "train": given["train"], "llm.name": given["llm__name"], "out": tmp_path}
        load_train_config(ROOT / given["config_file"], given["sets"], flags)
    elif given.get("sets"):
        assert command.name == "run"
        load_config(BenchConfig, None, given["sets"])


@pytest.mark.parametrize("name", RECIPES)
def test_every_step_reads_what_an_earlier_one_makes(name: str, tmp_path: Path) -> None:
    made: set[str] = set()
    for job in recipe_jobs(load_recipe(preset_file(name)), tmp_path):
        words = list(job.words)
        own = words[words.index("--out") + 1] if "--out" in words else None
        own = words[words.index("--cache") + 1] if own is None and "--cache" in words else own
        for word in words:
            if word.startswith(str(tmp_path)) and word != own:
                assert any(Path(word).is_relative_to(folder) for folder in made), f"{job.name}: {word}"
        if own is not None:
            assert job.makes.is_relative_to(own), job.name
            made.add(own)


def test_a_dry_run_tells_every_command_and_the_totals(tmp_path: Path) -> None:
    out = tmp_path / "x"
    line = ["--preset", "sd15", "--dry-run", "--out", str(out), "--set", "vlm=qwen2.5-vl-7b", "--set", "n_gpus=4"]
    result = CliRunner().invoke(reproduce, line)
    assert result.exit_code == 0, result.output
    recipe = load_recipe(preset_file("sd15"))
    typed = [row.strip().removeprefix("$ ") for row in result.output.splitlines() if row.strip().startswith("$ ")]
    assert len(typed) == len(recipe.steps)
    assert f"llm4gen-data probe {out}/downloaded --model qwen2.5-vl-7b" in typed
    gpu_hours = sum(step.hours for step in recipe.steps if step.device == "gpu")
    assert f"all of it: {gpu_hours:,.0f} H100 hours" in result.output
    assert f"{sum(step.disk_gb for step in recipe.steps):,.0f} GB of disk" in result.output
    assert "21 h 00 min  recaption" in result.output  # 84 hours by four
    assert f"{len(typed)} jobs, 0 done" in result.output
    assert "not measured by us" in result.output
    assert not out.exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_tells_the_totals(name: str) -> None:
    recipe = load_recipe(preset_file(name))
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    gpu_hours = sum(step.hours for step in recipe.steps if step.device == "gpu")
    wall = duration(sum(costs_of(recipe).values()) + COSTS["start"] * len(recipe.steps))
    assert row.endswith(f"| {gpu_hours:,.0f} | {sum(step.disk_gb for step in recipe.steps):,.0f} GB | {wall} |")


@pytest.mark.parametrize(
    ("sets", "said"),
    [(("vml=x",), "laion, vlm"), (("vlm",), "VARIABLE=VALUE"), (("n_gpus=0",), "n_gpus = '0'")],
)
def test_variables_are_checked(sets: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(preset_file("sd15"), sets)


def test_a_value_with_spaces_stays_one_word(tmp_path: Path) -> None:
    recipe = load_recipe(preset_file("sd15"), ["unidet=/my python/bin serve.py"])
    job = next(job for job in recipe_jobs(recipe, tmp_path) if job.name == "score-compbench-llm4gen")
    assert "t2i_compbench.detector_options.command=/my python/bin serve.py" in job.words


def test_a_step_with_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(_recipe(["llm4gen-data stats {what}"])))
    with pytest.raises(UsageError, match=r"step s0: '\{what\}'.*expected one of n_gpus, text, out"):
        load_recipe(file)


def test_experiments_alone_take_quick_and_jobs() -> None:
    for more in (["--quick"], ["--jobs", "2"]):
        result = CliRunner().invoke(reproduce, ["--preset", "sd15", "--dry-run", *more])
        assert result.exit_code == 2
        assert "one by one" in result.output


WRITE = "import sys; from pathlib import Path; Path(sys.argv[1]).write_text(sys.argv[2])"
CHECK = "import sys; from pathlib import Path; sys.exit(0 if Path(sys.argv[1]).with_name('mended').exists() else 3)"


def _recipe(lines: list[str]) -> dict[str, object]:
    steps = [
        {"name": f"s{n}", "run": line, "hours": 0.01, "device": "cpu", "source": "a guess"}
        for n, line in enumerate(lines)
    ]
    return {
        "title": "Three steps",
        "costs": "none",
        "gpu": "H100",
        "variables": {"n_gpus": "1", "text": "x"},
        "steps": steps,
    }


def test_a_recipe_stops_at_the_step_that_fails_and_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "LONG_IMPORTS", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # put back afterwards
    out = tmp_path / "out"
    write, check = shlex.quote(WRITE), shlex.quote(CHECK)
    lines = [f"python -c {write} {{out}}/a {{text}}", f"python -c {check} {{out}}/a", f"python -c {write} {{out}}/b y"]
    recipe = load_config(Recipe, flags=_recipe(lines))
    with pytest.raises(UserError, match=r"s1 failed with exit code 3.*s1\.log, and the same command goes on"):
        run_recipe(recipe, out, None, "again")
    assert (out / "a").read_text() == "x"
    assert not (out / "b").exists()
    (out / "mended").touch()
    capsys.readouterr()
    run_recipe(recipe, out, time.monotonic() - 1, "again")
    assert "3 jobs, 1 done, 2 left" in capsys.readouterr().out
    (out / "record").mkdir()  # what is kept is told how it came about
    run_recipe(recipe, out, None, "again")
    told = capsys.readouterr().out
    assert "s0 begins" not in told  # it is done
    assert (out / "b").read_text() == "y"
    assert all(is_done(job, out) for job in recipe_jobs(recipe, out))
    assert (out / "manifest.json").is_file()
    ran = read_json(out / "record" / "runs.json")
    assert ran["commands"] == ["again"]
    assert {job["job"] for job in ran["jobs"]} == {"s0", "s1", "s2"}
