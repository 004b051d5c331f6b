"""llm4gen-bench: the commands of the evaluator. Heavy imports stay inside the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.calibration.cli import calibrate
from benchmarks.options import image_options
from benchmarks.study.cli import study
from benchmarks.suites.suite import SUITES
from llm4gen_data.options import HELP_SETTINGS, config_options, echo_config, one_line_errors, out_option
from llm4gen_data.registry import missing_package


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Measure: images against their prompts, models against each other, and how far the metrics can be believed."""


@commands.command()
@click.option("--suite", metavar="NAME", help=f"{', '.join(SUITES)}, or module:attribute.")
@image_options
@click.option("--model", "models", multiple=True, help="Draw the suite's prompts by this model; repeatable.")
@click.option("--metrics", metavar="NAME,...", help="Comma-separated; without it those of the suite.")
@click.option(
    "--study",
    "study_result",
    type=click.Path(path_type=Path, file_okay=False),
    help="Result of `study analyse` on these images: what people said stands beside the metrics.",
)
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
    study_result: Path | None,
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
        "study": study_result,
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
@click.option("--suite", required=True, metavar="NAME", help="A version of T2I-CompBench, dpg or geneval.")
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
    help="T2I-CompBench: prompts of your own, read as prompts of --category (needs spaCy). Else the benchmark's file.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Parquet file to write.")
def prompts(suite: str, source: Path | None, categories: tuple[str, ...], file: Path | None, out: Path) -> None:
    """Write a suite's prompts with what they ask for: phrases, pairs of objects, numbers.

    Files are held to their sha256. What they ask for is read once, by spaCy, and kept; scoring needs no parser.
    `llm4gen-model generate --prompts` takes the file.
    """
    from benchmarks.suites.prompt_files import write_prompts

    click.echo(write_prompts(suite, source, categories, file, out))


@commands.command()
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="New folder to write.")
def export(run_directory: Path, out: Path) -> None:
    """Write the scores of a T2I-CompBench run as the original scripts do, a folder a model and category."""
    from benchmarks.suites.t2i_compbench.export import export_run

    for line in export_run(run_directory, out):
        click.echo(line)


commands.add_command(calibrate)
commands.add_command(study)


def resampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--n-resamples` and `--seed`."""
    for option in (
        click.option("--seed", type=int, default=0, help="Seed of the bootstrap."),
        click.option(
            "--n-resamples", type=click.IntRange(min=1), default=10_000, help="Bootstrap resamples of the prompts."
        ),
    ):
        command = option(command)
    return command


@commands.command()
@click.argument("run_a", metavar="A", type=click.Path(path_type=Path, file_okay=False))
@click.argument("run_b", metavar="B", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="New folder for JSON, CSV and Markdown.")
@resampling_options
def compare(run_a: Path, run_b: Path, out: Path | None, n_resamples: int, seed: int) -> None:
    """Compare the models of two run directories with the first of A, paired by prompt and seed.

    Where no seed agrees they are paired by prompt. Metrics that differ in any field of their identity are left out,
    and the fields are named; exit code 1 where nothing is left.
    """
    from benchmarks.comparison import compare as comparing

    comparison = comparing.compare((run_a, run_b), n_resamples=n_resamples, seed=seed)
    if out is not None:
        comparing.write(comparison, out)
    click.echo(comparing.tell(comparison))


@commands.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--metrics", metavar="NAME,...", help="Comma-separated.  [default: all that the runs have]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write.")
@resampling_options
def leaderboard(runs: tuple[Path, ...], metrics: str | None, out: Path | None, n_resamples: int, seed: int) -> None:
    """Rank the models of runs, a table a metric. The first run with a metric sets what is comparable.

    Rows that differ in suite, prompts or the metric's identity are refused, and the fields are named.
    """
    from benchmarks.comparison import leaderboard as ranking
    from llm4gen_data.runs import make_folder, write_json

    if out is not None:
        make_folder(out.parent)
    names = tuple(metrics.split(",")) if metrics else ()
    board = ranking.leaderboard(runs, names, n_resamples=n_resamples, seed=seed)
    if out is not None:
        write_json(out, board)
    click.echo(ranking.tell(board))


@commands.command()
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    required=True,
    metavar="NAME",
    help="text:BASE, llm:NAME or model:FOLDER (what its CAM makes); repeatable.",
)
@click.option("--n", type=click.IntRange(min=10), default=800, help="How many scenes, each with two captions.")
@click.option("--device", default="cpu", help="Where to compute: cpu, cuda, cuda:1.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write.")
def probe(encoders: tuple[str, ...], n: int, device: str, out: Path | None) -> None:
    """Probe what token states know: which colour belongs to which shape, which relation holds.

    A linear classifier is fitted on captions of some drawn scenes and tested on others.
    """
    from benchmarks.probes import run as probing
    from benchmarks.probes.tables import tell
    from llm4gen_data.runs import write_json

    probes = probing.probe(encoders, n, device)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, probes)
    click.echo(tell(probes))


main = one_line_errors(commands)
