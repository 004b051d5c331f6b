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
    help="Folder that `llm4gen-model generate` wrote, or another tool (--layout); repeatable.",
)
@click.option(
    "--layout",
    metavar="NAME",
    help="How the folders are laid out: manifest, t2i-compbench, geneval, evalscope or folder.  [default: manifest]",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the prompts of --images, where the layout needs one.  [default: the suite's prompts]",
)
@click.option("--model", "models", multiple=True, help="Draw the suite's prompts by this model; repeatable.")
@click.option("--metrics", metavar="NAME,...", help="Comma-separated; without it those of the suite.")
@click.option(
    "--allow-missing",
    is_flag=True,
    default=None,
    help="Score the other images if some are missing.  [default: stop before scoring]",
)
@click.option(
    "--strict",
    is_flag=True,
    default=None,
    help="Stop at whatever there is to tell about the images: counts, duplicates, missing, unreadable files.",
)
@config_options
@out_option("Run directory; the same command again goes on where it stopped.")
def run(
    suite: str | None,
    images: tuple[Path, ...],
    layout: str | None,
    prompts: Path | None,
    models: tuple[str, ...],
    metrics: str | None,
    allow_missing: bool | None,
    strict: bool | None,
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
        "layout": layout,
        "prompts": prompts,
        "models": models or None,
        "metrics": tuple(metrics.split(",")) if metrics is not None else None,
        "allow_missing": allow_missing,
        "strict": strict,
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


@commands.command()
@click.option("--suite", required=True, metavar="NAME", help="A version of T2I-CompBench, with or without its mode.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the prompt files.  [default: the cache, else download them]",
)
@click.option("--category", "categories", multiple=True, help="Only this category; repeatable.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prompts of your own, read as prompts of --category; needs spaCy.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet file to write.")
def prompts(suite: str, source: Path | None, categories: tuple[str, ...], file: Path | None, out: Path) -> None:
    """Write a suite's prompts with what they ask for: phrases, pairs of objects, numbers.

    Files are held to their sha256. What they ask for is read once, by spaCy, and kept; scoring needs no parser.
    `llm4gen-model generate --prompts` takes the file.
    """
    from benchmarks.suites.t2i_compbench.command import write_prompts

    click.echo(write_prompts(suite, source, categories, file, out))


@commands.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="New folder to write.")
def export(run_directory: Path, out: Path) -> None:
    """Write the scores of a T2I-CompBench run as the original scripts do, a folder a model and category."""
    from benchmarks.suites.t2i_compbench.export import export_run

    for line in export_run(run_directory, out):
        click.echo(line)


main = one_line_errors(commands)
