"""llm4gen-bench: the commands of the evaluator. Heavy imports stay inside the commands."""

from __future__ import annotations

from typing import Literal

import click

from llm4gen_data.options import HELP_SETTINGS, one_line_errors


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Measure: so far, how far the reader of drawn scenes can be believed."""


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
