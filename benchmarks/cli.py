"""llm4gen-bench: the commands of the evaluator. Heavy imports stay inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from benchmarks.suites.suite import SUITES
from llm4gen_data.options import HELP_SETTINGS, config_options, echo_config, one_line_errors, out_option
from llm4gen_data.registry import missing_package


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Measure: images against their prompts, models against each other, and how far the metrics can be believed."""


@commands.command()
@click.option("--suite", metavar="NAME", help=f"{', '.join(SUITES)}, or module:attribute.")
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that `llm4gen-model generate` wrote; repeatable.",
)
@click.option("--model", "models", multiple=True, help="Draw the suite's prompts by this model; repeatable.")
@click.option("--metrics", metavar="NAME,...", help="Comma-separated; without it those of the suite.")
@click.option(
    "--allow-missing",
    is_flag=True,
    default=None,
    help="Score the other images if some are missing.  [default: stop before scoring]",
)
@config_options
@out_option("Run directory; the same command again goes on where it stopped.")
def run(
    suite: str | None,
    images: tuple[Path, ...],
    models: tuple[str, ...],
    metrics: str | None,
    allow_missing: bool | None,
    out: Path,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Score images with intervals, compare models on the same prompts and seeds, write a report.

    The first model is the baseline. Exit code 1 also where a metric could score none of the images.
    """
    from benchmarks.config import BenchConfig
    from llm4gen_data.config import load_config

    flags = {
        "suite": suite,
        "images": images or None,
        "models": models or None,
        "metrics": tuple(metrics.split(",")) if metrics is not None else None,
        "allow_missing": allow_missing,
    }
    config = load_config(BenchConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
    else:
        try:
            from benchmarks.run import run as run_suite
        except ModuleNotFoundError as error:
            raise missing_package("llm4gen-bench run", error) from error
        run_suite(config, out)


@commands.command()
@click.option("--n", type=click.IntRange(min=1), default=300, help="How many scenes.")
@click.option("--seed", type=int, default=1_000_000, help="Seed of the first; vlm-mini was trained on smaller ones.")
@click.option(
    "--split",
    type=click.Choice(["train", "unseen", "any"]),
    default="any",
    help="unseen: every scene holds an attribute-shape pair that training scenes never hold.",
)
def calibrate(n: int, seed: int, split: Literal["train", "unseen", "any"]) -> None:
    """Measure the scene reader against the truth: as drawn, after JPEG, after a blur."""
    from benchmarks.calibrate import calibrate_scene_reader, format_tallies

    click.echo(format_tallies(calibrate_scene_reader(n, seed, split)))


main = one_line_errors(commands)
