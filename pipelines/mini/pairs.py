"""Write pairs of scenes and true captions in LAION-refined's layout, to train a mini text-to-image model on.

    python -m pipelines.mini.pairs --n 40000 --out runs/mini/pairs

Nearly half of the scenes hold a single object, so that a small model learns objects before arrangements.
"""

import hashlib
import io
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import CAPTION_SCHEMA, write_shard
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.records import CaptionRecord
from llm4gen_data.scenes.alt_text import alt_text
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import FRAME_PX

PAIRS_SEED = 70_000_000  # far from the seeds of other training scenes and of all that is measured
# Of scenes with several objects only this share is kept, which leaves 45 % with one object.
SEVERAL_OBJECTS_SHARE = 0.33
ROWS_PER_SHARD = 5_000

SCHEMA = (
    CAPTION_SCHEMA.append(pa.field("short_caption", pa.string()))
    .append(pa.field("medium_caption", pa.string()))
    .append(pa.field("scene", pa.string()))
)


def scene_seeds(first: int, several_objects_share: float) -> Iterator[int]:
    """Yield the seeds from `first` on whose training scenes are kept."""
    for seed in count(first):
        several = len(sample_scene(seed, split="train").objects) > 1
        if not several or random.Random(f"pairs-{seed}").random() < several_objects_share:
            yield seed


def pair(seed: int) -> dict[str, Any]:
    """Return the row of one training scene: the fields of CaptionRecord, two shorter captions, the scene as JSON."""
    scene, rng = sample_scene(seed, split="train"), random.Random(f"texts-train-{seed}")
    buffer = io.BytesIO()
    render(scene).save(buffer, format="PNG")
    text, short, medium, dense = (
        write(scene, rng) for write in (alt_text, short_caption, medium_caption, dense_caption)
    )
    key = f"{seed:09d}"
    record = CaptionRecord(
        key=key,
        url=None,
        sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        image={"bytes": buffer.getvalue(), "path": f"{key}.png"},
        width=FRAME_PX,
        height=FRAME_PX,
        seen_width=FRAME_PX,
        seen_height=FRAME_PX,
        alt_text=text,
        instruction=INSTRUCTIONS["paper"].text,
        caption_raw=dense,
        caption=dense,
        n_words=len(dense.split()),
        finish_reason=None,
        n_output_tokens=None,
        status="success",
        error_message=None,
        keep=True,
        reject_reasons=[],
    )
    return {
        **asdict(record),
        "short_caption": short,
        "medium_caption": medium,
        "scene": json.dumps(scene.to_dict()),
    }


def write_pairs(
    n: int, seed: int, out: Path, processes: int, several_objects_share: float = SEVERAL_OBJECTS_SHARE
) -> None:
    """Write `n` pairs as `out/data/train-NNNNN-of-NNNNN.parquet`; equal arguments give equal bytes.

    Raises UserError if the folder holds shards of another number.
    """
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    n_shards = -(-n // ROWS_PER_SHARD)
    names = [f"train-{index:05d}-of-{n_shards:05d}.parquet" for index in range(n_shards)]
    for path in folder.iterdir():
        if path.name not in names:
            raise UserError(
                f"{folder}: holds {path.name}, which is not one of these {n_shards} shards; use another --out"
            )
    with get_context("fork").Pool(processes) as pool:
        drawn = pool.imap(pair, islice(scene_seeds(seed, several_objects_share), n), chunksize=100)
        rows = iter(tqdm(drawn, total=n, desc="pairs", unit="pair", mininterval=5))
        for name in names:
            shard = list(islice(rows, ROWS_PER_SHARD))
            write_shard(folder / name, pa.Table.from_pylist(shard, schema=SCHEMA))


@click.command(help=__doc__)
@click.option("--n", default=40_000, show_default=True, help="Pairs to write.")
@click.option("--seed", default=PAIRS_SEED, show_default=True, help="Seed of the first scene drawn.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--processes", default=1, show_default=True)
@click.option(
    "--several-objects-share",
    default=SEVERAL_OBJECTS_SHARE,
    show_default=True,
    help="Of scenes with several objects, the share that is kept.",
)
def main(n: int, seed: int, out: Path, processes: int, several_objects_share: float) -> None:
    """Write the pairs."""
    write_pairs(n, seed, out, processes, several_objects_share)
    click.echo(f"{out}: {n:,} pairs")


if __name__ == "__main__":
    main()
