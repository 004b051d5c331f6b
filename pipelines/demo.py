"""The whole chain on a plain machine, with the real commands: `python -m pipelines.demo`.

Scenes stand in for photographs: a local web server offers them as the web would, a few with an opt-out header, a
few missing. Stopped at any point, the same command goes on from there.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import click
import pyarrow.parquet as pq

from llm4gen_data.options import HELP_SETTINGS, one_line_errors
from llm4gen_data.runs import is_complete, write_text
from pipelines.local_web import HOST, chosen_port, serve_images
from pipelines.stages import stage

DATA, MODEL, BENCH = "llm4gen-data", "llm4gen-model", "llm4gen-bench"
N_STAGES = 11
N_EXAMPLES = 3


@click.command(context_settings=HELP_SETTINGS)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/demo"), help="Folder.")
@click.option("--n", type=click.IntRange(min=1), default=400, help="How many images.")
@click.option("--train-steps", type=click.IntRange(min=1), default=150, help="Length of the CAM training.")
@click.option("--n-prompts", type=click.IntRange(min=5), default=60, help="How many prompts are drawn and scored.")
@click.option("--n-dense", type=click.IntRange(min=12), default=7000, help="How many dense prompts are written.")
@click.option("--port", type=click.IntRange(1024, 65535), help="Port of the web server.  [default: a free one]")
def demo(out: Path, n: int, train_steps: int, n_prompts: int, n_dense: int, port: int | None) -> None:
    """Images -> refined captions -> CAM training -> pictures -> scores -> report, in a few minutes on a CPU."""
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    make_data(out, n, n_dense, port)
    show_examples(out / "scenes", out / "refined")
    make_pictures(out, train_steps, n_prompts)
    click.echo(f"\nDone in {time.monotonic() - began:.0f} s. Look at:")
    for path, what in (
        (out / "scores" / "report.html", "scores with intervals, every picture with the reason of its score"),
        (out / "pictures" / "grid.png", "the same prompts and the same noise, a column a model"),
        (out / "cam" / "report.html", "how the CAM learned"),
        (out / "densprompts" / "prompts.txt", f"{n_dense:,} dense prompts"),
        (out / "refined" / "README.md", f"the data set: datasets.load_dataset({str(out / 'refined')!r})"),
    ):
        click.echo(f"  {path!s:38} {what}")
    click.echo("Your own images next:\n  $ llm4gen-data recaption FOLDER --model MODEL --out refined --dry-run")


def make_data(out: Path, n: int, n_dense: int, port: int | None) -> None:
    """Draw, serve, download, caption, check; and write the dense prompts."""
    scenes, downloaded, refined = out / "scenes", out / "downloaded", out / "refined"
    port = chosen_port(out, port)
    base_url = f"http://{HOST}:{port}/"
    with nullcontext() if is_complete(downloaded) else serve_images(scenes / "images", port):
        write_text(out / "port", f"{port}\n")
        stage(
            numbered(1, f"Draw {n} scenes: images whose truth is known, with alt texts as noisy as LAION's"),
            *(DATA, "scenes", "--n", n, "--seed", 0, "--base-url", base_url, "--out", scenes),
        )
        stage(
            numbered(2, f"Download them by URL with img2dataset; {base_url} refuses some and has lost others"),
            *(DATA, "download", scenes / "laion.parquet", "--out", downloaded, "--allow-private-hosts"),
        )
    stage(
        numbered(3, "Write a dense caption for every image with the bundled vlm-mini in vLLM"),
        *(DATA, "recaption", downloaded, "--captioner", "vllm", "--model", "vlm-mini", "--out", refined),
    )
    stage(
        numbered(4, "Prove that every input row is there once, with a caption or a reason"),
        *(DATA, "verify", refined),
    )
    stage(
        numbered(5, "Draw what changed, and hold the texts against the truth of the scenes, fact by fact"),
        *(DATA, "stats", refined, "--scenes", scenes / "scenes.parquet"),
    )
    stage(
        numbered(6, f"Write {n_dense:,} dense prompts, each with its specification and questions"),
        *(DATA, "build-densprompts", "--n", n_dense, "--out", out / "densprompts"),
    )


def make_pictures(out: Path, train_steps: int, n_prompts: int) -> None:
    """Train a CAM on the captions, draw with and without, score."""
    cam, pictures, dense_pictures = out / "cam", out / "pictures", out / "dense-pictures"
    stage(
        numbered(7, f"Train a Cross-Adapter Module for {train_steps} steps on the captions just made, from unet-mini"),
        *(MODEL, "train", "--data", out / "refined", "--out", cam, "--base", "mini", "--set", "cam.num_heads=4"),
        *("--max-train-steps", train_steps, "--learning-rate", 1e-3, "--set", "checkpointing_steps=25"),
    )
    models = ("--model", "control-mini", "--model", "cam-mini")
    sampling = ("--steps", 25, "--guidance-scale", 4)
    noise = ("--set", "guidance_rescale=0.7", "--set", "noise_per_prompt=true")
    stage(
        numbered(8, "Draw some of the dense prompts, though the mini family knows only shapes"),
        *(MODEL, "generate", *models, *sampling, "--prompts", out / "densprompts" / "prompts.parquet"),
        *("--n-prompts", 12, "--out", dense_pictures),
    )
    stage(
        numbered(9, "Score them by CLIP, whose context cuts nearly every dense prompt"),
        *(BENCH, "run", "--suite", "densprompts", "--images", dense_pictures, "--out", out / "dense-scores"),
    )
    stage(
        numbered(10, "Draw prompts of several objects from the same noise: without a CAM, with one, with yours"),
        *(MODEL, "generate", *models, "--model", cam / "model", *sampling, *noise),
        *("--prompts", "bindings", "--n-prompts", n_prompts, "--out", pictures),
    )
    stage(
        numbered(11, "Read every picture back and hold it against its prompt; compare the models, with intervals"),
        *(BENCH, "run", "--suite", "scenes", "--images", pictures, "--out", out / "scores"),
    )


def numbered(number: int, title: str) -> str:
    """The title with its place among the stages."""
    return f"{number}/{N_STAGES}  {title}"


def show_examples(scenes: Path, refined: Path) -> None:
    """Print some captions before and after."""
    table = pq.read_table(refined / "data", columns=["key", "alt_text", "caption", "status"])
    rows = [row for row in table.to_pylist() if row["status"] == "success" and row["alt_text"]]
    click.secho("\nBefore and after", bold=True)
    for row in rows[:N_EXAMPLES]:
        click.echo(f"  {scenes / 'images' / row['key']}.png")  # a row's key in the download is its number
        click.echo(f"    before: {row['alt_text']}")
        click.echo(f"    after:  {row['caption']}")


main = one_line_errors(demo)

if __name__ == "__main__":
    main()
