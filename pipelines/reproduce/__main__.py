"""`python -m pipelines.reproduce`: an experiment from data to tables, one command after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
import yaml

from llm4gen_data.config import to_plain
from llm4gen_data.options import HELP_SETTINGS, one_line_errors
from llm4gen_data.runs import finish, open_run, write_text
from pipelines.reproduce import commands
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
from pipelines.reproduce.preset import PRESETS, Preset, load_preset
from pipelines.reproduce.progress import duration, is_done, mark_done, seconds_of

NOT_IN_FINGERPRINT = ("costs", "threads", "device")


@click.command(context_settings=HELP_SETTINGS)
@click.option("--preset", "name", help=f"{', '.join(sorted(p.stem for p in PRESETS.glob('*.yaml')))}, or a YAML file.")
@click.option("--quick", is_flag=True, help="The preset's version of about an hour on two cores.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: runs/reproduce/PRESET]")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override one key of the preset; repeatable.")
@click.option("--dry-run", is_flag=True, help="Print every command of the plan with its cost, and stop.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Only write the tables and the figure anew, from the data of an experiment that has run.",
)
def reproduce(
    name: str | None, quick: bool, out: Path | None, sets: tuple[str, ...], dry_run: bool, record: Path | None
) -> None:
    """Run an experiment from data to tables and figure; stopped at any point, the same command goes on."""
    if record is not None:
        from pipelines.reproduce.report import write_report

        write_report(record, out or record)
        return
    if name is None:
        raise click.UsageError("expected --preset NAME, or --record DIR")
    preset = load_preset(name, quick=quick, sets=sets)
    out = out or Path("runs/reproduce") / (Path(name).stem + ("-quick" if quick else ""))
    if dry_run:
        show_plan(preset, out)
        return
    plain = to_plain(preset)
    fingerprint = {key: value for key, value in plain.items() if key not in NOT_IN_FINGERPRINT}
    with open_run(out, "reproduce", plain, fingerprint):
        write_text(out / "train.yaml", yaml.safe_dump(preset.train, sort_keys=False))
        run_experiment(preset, out)
        finish(out, "reproduce", fingerprint, {"results": "results/results.json"})


def run_experiment(preset: Preset, out: Path) -> None:
    """Data, probes, caches, sweep, choices, trainings, pictures, scores; then record and report."""
    from pipelines.reproduce.choose import chosen
    from pipelines.reproduce.record import write_record
    from pipelines.reproduce.report import write_report

    first = [*data_jobs(preset, out), *probe_jobs(preset, out), *cache_jobs(preset, out), *sweep_jobs(preset, out)]
    known = read_choices(out)
    carry_out(first, final_jobs(preset, out, known or default_choices(preset)), preset, out)
    choices = chosen(preset, out)
    carry_out(final_jobs(preset, out, choices), [], preset, out)
    write_record(preset, out, out / "record")
    write_report(out / "record", out / "results")


def carry_out(jobs: Sequence[Job], later: Sequence[Job], preset: Preset, out: Path) -> None:
    """Run the jobs that are not done; `later` are those that follow, for the time left."""
    for number, job in enumerate(jobs):
        if is_done(job, out):
            continue
        ahead = list({each.name: each for each in (*jobs[number:], *later)}.values())
        left = [each for each in ahead if not is_done(each, out)]
        left_s = sum(seconds_of(left, out, preset.costs))
        began = time.monotonic()
        commands.carry_out(f"{job.name}   ({len(left)} jobs left, about {duration(left_s)})", job.words)
        mark_done(job, out, time.monotonic() - began)


def show_plan(preset: Preset, out: Path) -> None:
    """Print every command with its cost; what the sweep will choose is shown as the first that it tries."""
    choices = read_choices(out) or default_choices(preset)
    plan = [*data_jobs(preset, out), *probe_jobs(preset, out), *cache_jobs(preset, out), *sweep_jobs(preset, out)]
    plan = list({job.name: job for job in (*plan, *final_jobs(preset, out, choices))}.values())
    seconds = seconds_of(plan, out, preset.costs)
    click.secho(preset.title, bold=True)
    for job, cost in zip(plan, seconds, strict=True):
        state = "done" if is_done(job, out) else duration(cost)
        click.echo(f"{state:>10}  {job.name}\n            $ {' '.join(job.words)}")
    left = [cost for job, cost in zip(plan, seconds, strict=True) if not is_done(job, out)]
    kinds: dict[str, float] = {}
    for job, cost in zip(plan, seconds, strict=True):
        kind = job.name.partition("/")[0]
        kinds[kind] = kinds.get(kind, 0) + cost
    click.echo(f"\n{len(plan)} jobs, {len(plan) - len(left)} done, {len(left)} left: about {duration(sum(left))}")
    click.echo("in all: " + ", ".join(f"{kind} {duration(cost)}" for kind, cost in kinds.items()))
    if not read_choices(out):
        click.echo("Learning rate and guidance of the test runs stand for what the sweep will choose.")


main = one_line_errors(reproduce)

if __name__ == "__main__":
    main()
