"""llm4gen-model: the commands of the model side. Heavy imports stay inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from llm4gen_data.options import HELP_SETTINGS, config_options, echo_config, one_line_errors, out_option


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Models that read their prompts through a language model: train them, draw with them."""


def training_options(command: Any) -> Any:
    """Add the options that `cache` and `train` share."""
    for option in (
        click.option("--seed", type=int, help="Decides order, noise and new weights.  [default: 0]"),
        click.option("--device", help="Where to compute: cpu, cuda, cuda:1.  [default: cpu]"),
        click.option("--llm", "llm__name", help="Language model that the CAM reads.  [default: minilm]"),
        click.option(
            "--train",
            type=click.Choice(["cam", "cam+unet", "unet"]),
            help="What is trained; unet is without a language model.  [default: cam]",
        ),
        click.option("--base", help="mini, sd15, sdxl, a hub id, or a folder.  [default: mini]"),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Run of recaption, or Parquet in its layout.",
        ),
    ):
        command = option(command)
    return command


def nested(flags: dict[str, Any]) -> dict[str, Any]:
    """Flags by configuration key: click's names hold no dots."""
    return {name.replace("__", "."): value for name, value in flags.items()}


@commands.command()
@training_options
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to fill.")
@config_options
def cache(config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any) -> None:
    """Encode the images and captions of a data set once, for any number of trainings.

    Takes the same configuration as `train`. What the cache holds already is kept; another encoder's is refused.
    """
    from llm4gen_data.config import load_config
    from llm4gen_model.training.config import TrainConfig

    config = load_config(TrainConfig, config_file, sets, nested({"out": flags["cache"], **flags}))
    if dry_run:
        echo_config(config)
        return
    from llm4gen_model.training.run import cache as fill_cache

    fill_cache(config)


@commands.command()
@training_options
@out_option("Run directory; the same command again goes on where it stopped.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Cache to read and complete.")
@click.option("--max-train-steps", type=int, help="Length of the training.  [default: 1000]")
@click.option("--train-batch-size", type=int, help="Pairs a step.  [default: 32]")
@click.option("--learning-rate", type=float, help="[default: 0.0001]")
@config_options
def train(config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any) -> None:
    """Train a Cross-Adapter Module on captioned images, alone or with its UNet, and export the result.

    Writes checkpoints, metrics.jsonl, samples/, model/ and report.html. Stopped at any moment and started again,
    it ends in the same weights, bit for bit on a CPU. `llm4gen-model generate --model OUT/model` draws with them.
    """
    from llm4gen_data.config import load_config
    from llm4gen_model.training.config import TrainConfig

    config = load_config(TrainConfig, config_file, sets, nested(flags))
    if dry_run:
        echo_config(config)
        return
    from llm4gen_model.training.run import train as run_training

    run_training(config)


@commands.command()
@click.option("--model", "models", multiple=True, help="mini, cam-mini, sd15, sdxl, a hub id or a folder; repeatable.")
@click.option("--prompts", help="File (.txt, .jsonl, .parquet), or scenes, densprompts.")
@out_option("Folder for images, images.parquet and grid.png; the same command again goes on.")
@click.option("--n-prompts", type=int, help="Only the first so many prompts.")
@click.option("--samples-per-prompt", type=int, help="Images a prompt.  [default: 1]")
@click.option("--seed", type=int, help="Seed of the first image of each prompt.  [default: 0]")
@click.option("--steps", "num_inference_steps", type=int, help="Denoising steps.")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance.")
@click.option("--batch-size", type=int, help="Images at once; changes no picture.")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1.  [default: cpu]")
@config_options
def generate(out: Path, config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any) -> None:
    """Draw the same prompts from the same noise with one or several models, side by side."""
    from llm4gen_data.config import load_config
    from llm4gen_model.generate.config import GenerateConfig

    flags["models"] = flags["models"] or None
    config = load_config(GenerateConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
        return
    from llm4gen_model.generate.run import generate as run_generate

    run_generate(config, out)


@commands.command()
@click.option("--paths", is_flag=True, help="Print the folders only, for scripts.")
def models(paths: bool) -> None:
    """List the bundled models: architecture, parameters, size on disk."""
    from llm4gen_model.family import bundled_models

    for model in bundled_models():
        if paths:
            click.echo(model.path)
        else:
            size = f"{model.n_parameters:>11,} parameters {model.n_bytes / 1e6:6.1f} MB"
            click.echo(f"{model.name:12s} {model.architecture:34s} {size}")


main = one_line_errors(commands)
