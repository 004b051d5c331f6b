"""`python -m pipelines.reproduce`: an experiment from data to tables, several commands side by side."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import click
import yaml

from llm4gen_data.config import to_plain
from llm4gen_data.options import HELP_SETTINGS, one_line_errors
from llm4gen_data.runs import finish, open_run, write_text
from pipelines.reproduce.plan import (
    Job,
    cache_jobs,
    data_jobs,
    default_choices,
    final_jobs,
    probe_jobs,
    read_choices,
    sweep_jobs,
)
from pipelines.reproduce.preset import PRESETS, Preset, load_preset, preset_file
from pipelines.reproduce.progress import duration, is_done, seconds_of
from pipelines.reproduce.recipe import is_recipe, load_recipe, run_recipe, show_recipe
from pipelines.reproduce.side_by_side import Pace, TimeIsUp, carry_out, tell_what_is_left

NOT_IN_FINGERPRINT = ("costs", "threads", "device")


@click.command(context_settings=HELP_SETTINGS)
@click.option("--preset", "name", help=f"{', '.join(sorted(p.stem for p in PRESETS.glob('*.yaml')))}, or a YAML file.")
@click.option("--quick", is_flag=True, help="The preset's version of about an hour on two cores.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: runs/reproduce/PRESET]")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key of an experiment, or one variable of a recipe; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print every command of the plan with its cost, and stop.")
@click.option("--jobs", "n_jobs", type=click.IntRange(1), help="Commands at once [default: a CPU core a thread].")
@click.option(
    "--stop-after",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Stop in order then; the same command goes on.",
)
@click.option(
    "--record",
    "records",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Only write tables and figure anew, from what is kept of an experiment; repeated: as one, from its parts.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only write this page, PAGE.md, anew, from the records in PAGE/*/.",
)
def reproduce(
    name: str | None,
    quick: bool,
    out: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
    n_jobs: int | None,
    minutes: float | None,
    records: tuple[Path, ...],
    page: Path | None,
) -> None:
    """Run an experiment from data to tables and figure; stopped at any point, the same command goes on."""
    if page is not None:
        from pipelines.reproduce.page import write_page

        write_page(page)
        return
    if records:
        from pipelines.reproduce.merge import merge_records
        from pipelines.reproduce.report import write_report

        if len(records) > 1:
            if out is None:
                raise click.UsageError("several --record become one in --out DIR")
            merge_records(records, out)
            records = (out,)
        write_report(records[0], out or records[0])
        return
    if name is None:
        raise click.UsageError("expected --preset NAME, --record DIR, or --page FILE.md")
    out = out or Path("runs/reproduce") / (Path(name).stem + ("-quick" if quick else ""))
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    if is_recipe(file := preset_file(name)):
        if quick or n_jobs:
            raise click.UsageError("--quick and --jobs are for experiments: the steps of a recipe run one by one")
        recipe = load_recipe(file, sets)
        if dry_run:
            show_recipe(recipe, out)
        else:
            run_recipe(recipe, out, deadline, command_line(name, quick=False, sets=sets))
        return
    preset = load_preset(name, quick=quick, sets=sets)
    pace = Pace(n_jobs or default_jobs(preset), preset.costs, deadline)
    if dry_run:
        show_plan(preset, out, pace)
        return
    plain = to_plain(preset)
    fingerprint = {key: value for key, value in plain.items() if key not in NOT_IN_FINGERPRINT}
    with open_run(out, "reproduce", plain, fingerprint):
        write_text(out / "train.yaml", yaml.safe_dump(preset.train, sort_keys=False))
        try:
            run_experiment(preset, out, pace, command_line(name, quick=quick, sets=sets))
        except TimeIsUp:
            click.echo(f"Stopped after {minutes:g} minutes. The same command again goes on from here:")
            tell_what_is_left(*phases(preset, out), out, pace)
            return
        finish(out, "reproduce", fingerprint, {"results": "results/results.json"})


def command_line(name: str, *, quick: bool, sets: tuple[str, ...]) -> str:
    """What one would type to have the same again."""
    given = [word for each in sets for word in ("--set", each)]
    return f"python -m pipelines.reproduce {shlex.join(['--preset', name, *(['--quick'] if quick else []), *given])}"


def default_jobs(preset: Preset) -> int:
    """As many commands as there are CPU cores for their threads; one on an accelerator, which it fills."""
    return max(1, len(os.sched_getaffinity(0)) // max(preset.threads, 1)) if preset.device == "cpu" else 1


def run_experiment(preset: Preset, out: Path, pace: Pace, command: str) -> None:
    """Data, probes, caches, sweep, choices, trainings, pictures, scores; then record and report."""
    from pipelines.reproduce import commands
    from pipelines.reproduce.choose import chosen
    from pipelines.reproduce.record import write_record
    from pipelines.reproduce.report import write_report

    commands.prepare(preset.threads)
    carry_out(*phases(preset, out), out, pace)
    chosen(preset, out)
    first, later = phases(preset, out)
    carry_out([*first, *later], [], out, pace)
    write_record(preset, out, out / "record", command)
    write_report(out / "record", out / "results")


def phases(preset: Preset, out: Path) -> tuple[list[Job], list[Job]]:
    """What comes before the choices, and what after; until they are made, the first of each stands for them."""
    first = [*data_jobs(preset, out), *probe_jobs(preset, out), *cache_jobs(preset, out), *sweep_jobs(preset, out)]
    return first, final_jobs(preset, out, read_choices(out) or default_choices(preset))


def show_plan(preset: Preset, out: Path, pace: Pace) -> None:
    """Print every command with its cost; what the sweep will choose is shown as the first that it tries."""
    first, later = phases(preset, out)
    plan = list({job.name: job for job in (*first, *later)}.values())
    seconds = seconds_of(plan, out, preset.costs)
    click.secho(preset.title, bold=True)
    kinds: dict[str, float] = {}
    for job, cost in zip(plan, seconds, strict=True):
        state = "done" if is_done(job, out) else duration(cost)
        click.echo(f"{state:>10}  {job.name}\n            $ {shlex.join(job.words)}")
        kind = job.name.partition("/")[0]
        kinds[kind] = kinds.get(kind, 0) + cost
    click.echo("\none after another: " + ", ".join(f"{kind} {duration(cost)}" for kind, cost in kinds.items()))
    tell_what_is_left(first, later, out, pace)
    if not read_choices(out):
        click.echo("Learning rate and guidance of the test runs stand for what the sweep will choose.")


main = one_line_errors(reproduce)

if __name__ == "__main__":
    main()
