"""A preset that is a recipe: the commands of a whole reproduction in order, each with what it costs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
import yaml

from llm4gen_data.config import load_config, to_plain
from llm4gen_data.errors import UsageError
from llm4gen_data.runs import finish, open_run, write_json
from pipelines.reproduce.plan import ALL, Job
from pipelines.reproduce.progress import duration, is_done, log_of
from pipelines.reproduce.side_by_side import Pace, TimeIsUp, carry_out, tell_what_is_left

OUT, N_GPUS = "out", "n_gpus"
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Step:
    """One command line, in which `{NAME}` stands for a variable of the recipe or `{out}` for the run directory.

    `makes` is the file that is there when it is done (empty: it leaves no file). It takes `hours` of one device,
    divided among `n_gpus` where the command names that variable, and leaves `disk_gb` behind; `source` says how these
    were come by.
    """

    name: str
    run: str
    hours: float
    device: Literal["gpu", "cpu"]
    source: str
    makes: str = ""
    disk_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps that run one after another; `costs` says what all estimates rest on, `gpu` which one the hours are of.

    `variables` are what a user names or chooses, with their defaults. `threads` are those of each command.
    """

    title: str
    costs: str
    gpu: str
    variables: dict[str, str]
    steps: tuple[Step, ...]
    threads: int = 8

    def n_gpus(self) -> int:
        """Among how many GPUs commands that can are spread. Raises UsageError for what is no such number."""
        text = self.variables.get(N_GPUS, "1")
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"{N_GPUS} = {text!r}: expected a whole number, at least 1")
        return int(text)


def is_recipe(file: Path) -> bool:
    """Whether a preset's file holds steps, not arms. A file that cannot be read holds neither."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # load_config tells why
    return isinstance(content, dict) and "steps" in content


def load_recipe(file: Path, sets: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, with `variable=value` of `sets` in place of its own values.

    Raises UsageError for unknown keys, unknown variables, and steps that name a variable that is not there.
    """
    recipe = load_config(Recipe, file)
    given = {}
    for item in sets:
        name, equals, value = item.partition("=")
        if not equals or name not in recipe.variables:
            raise UsageError(f"--set {item!r}: expected VARIABLE=VALUE with one of {', '.join(recipe.variables)}")
        given[name] = value
    recipe = replace(recipe, variables=recipe.variables | given)
    names = [step.name for step in recipe.steps]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{file}: two steps are called {twice!r}")
    recipe.n_gpus()
    recipe_jobs(recipe, Path("OUT"))
    return recipe


def recipe_jobs(recipe: Recipe, out: Path) -> list[Job]:
    """The commands in order; none runs beside another, and the cost of each is a rate of its own."""
    values = {**recipe.variables, OUT: str(out)}
    jobs = []
    for step in recipe.steps:
        # split before anything is put in, so that a value with spaces stays one word
        words = tuple(_filled(word, values, step.name) for word in shlex.split(step.run))
        job = Job(step.name, words, out, out, _rate(step), 1, ALL)
        made = Path(_filled(step.makes, values, step.name)) if step.makes else log_of(job, out)
        jobs.append(replace(job, makes=made, out=made))
    return jobs


def costs_of(recipe: Recipe) -> dict[str, float]:
    """Seconds of each step, under the rate of its job."""
    return {_rate(step): HOUR_S * _hours(step, recipe.n_gpus()) for step in recipe.steps}


def show_recipe(recipe: Recipe, out: Path) -> None:
    """Print every command as one would type it, with its cost and where that comes from, and the totals."""
    n_gpus = recipe.n_gpus()
    jobs = recipe_jobs(recipe, out)
    click.secho(recipe.title, bold=True)
    for step, job in zip(recipe.steps, jobs, strict=True):
        state = "done" if is_done(job, out) else duration(HOUR_S * _hours(step, n_gpus))
        device = f"{step.hours:g} {recipe.gpu} hours" if step.device == "gpu" else "CPU"
        disk = f", {step.disk_gb:g} GB" if step.disk_gb else ""
        click.echo(f"{state:>10}  {step.name}: {device}{disk}")
        click.echo(f"            $ {shlex.join(job.words)}\n            # {' '.join(step.source.split())}")
    hours = {device: sum(step.hours for step in recipe.steps if step.device == device) for device in ("gpu", "cpu")}
    disk_gb = sum(step.disk_gb for step in recipe.steps)
    gpu, cpu = f"{hours['gpu']:,.0f} {recipe.gpu} hours", f"{hours['cpu']:,.1f} CPU hours"
    click.echo(f"\nall of it: {gpu}, {cpu}, {disk_gb:,.0f} GB of disk")
    tell_what_is_left(jobs, [], out, Pace(1, costs_of(recipe)))
    spread = f"With {n_gpus} GPUs where a command takes several. " if N_GPUS in recipe.variables else ""
    click.echo(spread + " ".join(recipe.costs.split()))


def run_recipe(recipe: Recipe, out: Path, deadline: float | None, command: str) -> None:
    """Run the steps that are not done; the same again goes on. Raises UserError for one that fails.

    If steps leave a folder `record`, what ran is noted in it; `command` is the line that began it.
    What may change between two starts is left to the commands themselves, which refuse what would mix two runs.
    """
    from pipelines.reproduce import commands
    from pipelines.reproduce.record import RUNS, how_it_ran

    commands.prepare(recipe.threads)
    fingerprint = {"title": recipe.title, "steps": [step.name for step in recipe.steps]}
    jobs, pace = recipe_jobs(recipe, out), Pace(1, costs_of(recipe), deadline)
    with open_run(out, "reproduce", to_plain(recipe), fingerprint):
        try:
            carry_out(jobs, [], out, pace)
        except TimeIsUp:
            click.echo("Stopped, as the time is over. The same command again goes on from here:")
            tell_what_is_left(jobs, [], out, pace)
            return
        if (out / "record").is_dir():
            write_json(out / "record" / RUNS, how_it_ran(out, command, "cpu"))
        finish(out, "reproduce", fingerprint, {"makes": {job.name: str(job.out) for job in jobs}})


def _rate(step: Step) -> str:
    return f"step.{step.name}"


def _hours(step: Step, n_gpus: int) -> float:
    return step.hours / n_gpus if f"{{{N_GPUS}}}" in step.run else step.hours


def _filled(text: str, values: Mapping[str, str], step: str) -> str:
    try:
        return text.format_map(values)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = ", ".join(values)
        raise UsageError(f"step {step}: {text!r}: no such variable {error}: expected one of {known}") from error
