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
        click.option(
            "--llm",
            "llm__name",
            help="Language model that the CAM reads; clip: none, the base's own text.  [default: minilm]",
        ),
        click.option(
            "--train",
            type=click.Choice(["cam", "cam+unet", "cam+unet-lora", "cam+cross-attention", "unet"]),
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


def echo_training(config: Any) -> None:
    """Print a training's configuration and, as comments behind it, what its cache lacks and will take."""
    echo_config(config)
    from llm4gen_model.training.run import dry_run_lines

    for line in dry_run_lines(config):
        click.echo(f"# {line}")


def nested(flags: dict[str, Any]) -> dict[str, Any]:
    """Flags by configuration key: click's names hold no dots."""
    return {name.replace("__", "."): value for name, value in flags.items()}


@commands.command()
@training_options
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to fill.")
@click.option("--part", metavar="I/N", help="Make only the I-th of N parts: several machines or GPUs fill one cache.")
@click.option("--processes", "cache_processes", type=int, help="Processes, one CPU thread each.  [default: 1]")
@click.option("--verify", is_flag=True, help="Read the whole cache too, and say which shards are damaged.")
@config_options
def cache(
    config_file: Path | None, sets: tuple[str, ...], dry_run: bool, part: str | None, verify: bool, **flags: Any
) -> None:
    """Encode the images and captions of a data set once, for any number of trainings.

    Takes the same configuration as `train`. What the cache holds already is kept; another encoder's is refused.
    With --dry-run: how much is missing, how large it becomes and how long it takes on this device.
    """
    from llm4gen_model.training.config import load_train_config

    config = load_train_config(config_file, sets, nested({"out": flags["cache"], **flags}))
    if dry_run:
        echo_training(config)
        return
    from llm4gen_model.training.cache import read_part
    from llm4gen_model.training.run import cache as fill_cache

    fill_cache(config, read_part(part), verify)


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
    from llm4gen_model.training.config import load_train_config

    config = load_train_config(config_file, sets, nested(flags))
    if dry_run:
        echo_training(config)
        return
    from llm4gen_model.training.run import train as run_training

    run_training(config)


@commands.command()
@click.option("--model", "models", multiple=True, help="mini, cam-mini, sd15, sdxl, a hub id or a folder; repeatable.")
@click.option("--compare", type=click.Choice(["base"]), help="Draw with each model's own base too, side by side.")
@click.option("--prompts", help="File (.txt, .jsonl, .parquet), or scenes, densprompts.")
@out_option("Folder for images, images.parquet and grid.png; the same command again goes on.")
@click.option("--n-prompts", type=int, help="Only the first so many prompts.")
@click.option("--upsample", "upsample__model", help="Language model that rewrites short prompts as dense ones first.")
@click.option("--upsample-url", "upsample__engine__base_url", help="OpenAI-compatible server that has it, else vLLM.")
@click.option("--samples-per-prompt", type=int, help="Images a prompt.  [default: 1]")
@click.option("--seed", type=int, help="Seed of the first image of each prompt, the next has 1 more.  [default: 0]")
@click.option("--steps", "num_inference_steps", type=int, help="Denoising steps.  [default: 50]")
@click.option("--scheduler", help="Scheduler of diffusers by its class name, else the model's own.")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance.  [default: 7.5]")
@click.option("--cam-scale", type=float, help="Factor on the language model's tokens, else the CAM's own.")
@click.option("--drop-llm-tokens/--keep-llm-tokens", default=None, help="Draw without the language model's tokens.")
@click.option("--long-prompts", type=click.Choice(["truncate", "chunk"]), help="Beyond CLIP.  [default: truncate]")
@click.option("--batch-size", type=int, help="Images at once; changes no picture.  [default: 8]")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1.  [default: cpu]")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="[default: float32]")
@click.option("--llm-dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="Else as in training.")
@click.option("--llm-quantize", type=click.Choice(["8bit", "4bit"]), help="Weights of the language model in less.")
@click.option("--llm", help="Where the language model is, if not where the model says.")
@click.option("--base", help="Where the base model is, if not where the model says.")
@click.option("--offload/--no-offload", default=None, help="On the GPU only what is at work.")
@click.option("--compile/--no-compile", default=None, help="Compile the UNet; pays from some hundred images on.")
@config_options
def generate(out: Path, config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any) -> None:
    """Draw the same prompts from the same noise with one or several models, side by side."""
    from llm4gen_data.config import load_config
    from llm4gen_model.generate.config import GenerateConfig

    flags["models"] = flags["models"] or None
    config = load_config(GenerateConfig, config_file, sets, nested(flags))
    if dry_run:
        echo_config(config)
        return
    from llm4gen_model.generate.run import generate as run_generate

    run_generate(config, out)


@commands.command()
@click.option("--model", help="mini, cam-mini, sd15, sdxl, a hub id or a folder.")
@click.option("--prompt", help="What to draw.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="PNG file to write.")
@click.option("--words", help="Words or phrases of the prompt, by commas, else all that stand for something.")
@click.option("--layers", help="Parts of names of cross-attention layers, by commas: mid,up_blocks.1; else all.")
@click.option("--seed", type=int, help="Seed of the image.  [default: 0]")
@click.option("--steps", "num_inference_steps", type=int, help="Denoising steps.  [default: 50]")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance.  [default: 7.5]")
@click.option("--cam-scale", type=float, help="Factor on the language model's tokens, else the CAM's own.")
@click.option("--long-prompts", type=click.Choice(["truncate", "chunk"]), help="Beyond CLIP.  [default: truncate]")
@click.option("--device", help="Where to compute: cpu, cuda, cuda:1.  [default: cpu]")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="[default: float32]")
@config_options
def attention(out: Path, config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any) -> None:
    """Draw one prompt and show where the model looked for each word.

    One row of heat maps for the word as CLIP read it, one for the word as the language model did.
    """
    from llm4gen_data.config import load_config
    from llm4gen_model.attention.config import AttentionConfig

    for name in ("words", "layers"):
        flags[name] = [part.strip() for part in flags[name].split(",")] if flags[name] is not None else None
    config = load_config(AttentionConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
        return
    from llm4gen_model.attention.run import attention as draw_attention

    draw_attention(config, out)


@commands.command()
@click.argument("source")
@out_option("Folder to write; must be new or empty.")
@click.option("--base", help="Where the base model is: a folder or hub id, else as the authors have it.")
@click.option("--llm", help="Where the language model is: a folder, a hub id or a known name, else as trained with.")
@click.option("--pipeline", is_flag=True, help="Write a whole LLM4GenPipeline, base and language model included.")
def convert(source: str, out: Path, base: str | None, llm: str | None, pipeline: bool) -> None:
    """Turn the authors' checkpoint (folder or hub id with projector.pth and unet/) into a safetensors folder."""
    from llm4gen_model.convert import convert as run_convert

    run_convert(source, out, base=base, llm=llm, pipeline=pipeline)


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
