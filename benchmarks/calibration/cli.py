"""llm4gen-bench calibrate. Heavy imports stay inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from llm4gen_data.options import config_options, echo_config

FIGURE_FORMATS = (".png", ".svg", ".pdf")
LENGTHS = ("short", "medium", "dense")


@click.command()
@click.option(
    "--metric",
    "metrics",
    metavar="NAME[=MODEL]",
    multiple=True,
    help="Any metric of `run`, with a model of its own if one is given; repeatable.  "
    "[default: the scene reader's facts, one by one]",
)
@click.option("--n", type=click.IntRange(min=1), default=300, help="How many scenes; with --metric, of each skill.")
@click.option("--seed", type=int, default=1_000_000, help="Seed of the first; vlm-mini was trained on smaller ones.")
@click.option(
    "--split",
    type=click.Choice(["train", "unseen", "any"]),
    default="any",
    help="unseen: every scene holds an attribute-shape pair that training scenes never hold.",
)
@click.option(
    "--length",
    "lengths",
    type=click.Choice(LENGTHS),
    multiple=True,
    help="Of the prompts, with --metric: what the skill needs, all attributes, or 50 to 95 words; repeatable.  "
    "[default: short]",
)
@click.option(
    "--balanced", is_flag=True, help="With --metric, --n scenes of each skill and number of objects, not as they come."
)
@click.option("--size-px", type=click.IntRange(32, 2048), default=64, help="Side of the pictures, with --metric.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write, with --metric.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Chart by number of objects to write (.png, .svg or .pdf), with --metric.",
)
@config_options
def calibrate(
    metrics: tuple[str, ...],
    n: int,
    seed: int,
    split: Literal["train", "unseen", "any"],
    lengths: tuple[Literal["short", "medium", "dense"], ...],
    balanced: bool,
    size_px: int,
    out: Path | None,
    figure: Path | None,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Measure how far metrics can be believed, on drawn scenes whose truth is known.

    With --metric, how often it prefers the picture that shows what the prompt says to one that differs in a colour,
    shape, texture, size, relation, count, or in which object has which colour, and how that changes with the number
    of objects; --set takes its options as for `run`. Without, the scene reader against the truth: as drawn, after
    JPEG, after a blur.
    """
    if not metrics:
        from benchmarks.calibration.reader import calibrate_scene_reader, format_tallies

        if out is not None or figure is not None or lengths or balanced or sets or config_file is not None:
            raise click.UsageError("--out, --figure, --length, --balanced, --set and --config need --metric")
        click.echo(format_tallies(calibrate_scene_reader(n, seed, split)))
        return
    if figure is not None and figure.suffix not in FIGURE_FORMATS:
        raise click.UsageError(f"--figure {figure}: expected a name that ends in {', '.join(FIGURE_FORMATS)}")
    from benchmarks.calibration.metric import calibrate_metric, metric_for
    from benchmarks.calibration.tables import tell
    from benchmarks.config import BenchConfig
    from llm4gen_data.config import load_config
    from llm4gen_data.runs import make_folder, write_json

    config = load_config(BenchConfig, config_file, sets)
    if dry_run:
        echo_config(config)
        return
    for file in (out, figure):
        if file is not None:
            make_folder(file.parent)
    # All of them are looked up before the first is tried.
    loaded = {name: metric_for(config, name, size_px) for name in metrics}
    calibrations = [
        calibrate_metric(
            name,
            metric,
            n=n,
            first_seed=seed,
            split=split,
            length=length,
            balanced=balanced,
            size_px=size_px,
            batch_size=config.batch_size,
            n_resamples=config.n_resamples,
            seed=config.bootstrap_seed,
        )
        for name, metric in loaded.items()
        for length in lengths or ("short",)
    ]
    if out is not None:
        write_json(out, {"calibrations": calibrations})
    if figure is not None:
        from benchmarks.calibration.figure import write_figure

        write_figure(figure, calibrations)
    click.echo(tell(calibrations))
