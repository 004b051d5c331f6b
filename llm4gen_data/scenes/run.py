"""`llm4gen-data scenes`: draw pictures and write down what is true of them, and what the web would say."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from llm4gen_data.runs import SCHEMA_VERSION, atomic_path, finish, is_complete, open_run
from llm4gen_data.scenes.alt_text import alt_text
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.questions import questions
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Split, sample_scene
from llm4gen_data.scenes.vocabulary import FRAME_PX


def write_scenes(n: int, seed: int, out: Path, base_url: str, split: Split) -> None:
    """Draw the scenes of seeds `seed` to `seed + n - 1` into the run directory `out`, or go on where a start stopped.

    Writes `images/NNNNNNNNN.png`, `scenes.parquet` (one row a scene: key, file_name, url, alt_text, the captions of
    three lengths, questions and the scene itself as JSON, split, seed) and `laion.parquet` (LAION's columns; URL is
    `base_url` and the file name). Equal arguments give equal bytes. Raises UserError for a folder of another run.
    """
    arguments = {"n": n, "seed": seed, "base_url": base_url, "split": split}
    fingerprint = {"schema_version": SCHEMA_VERSION, **arguments}
    with open_run(out, "scenes", arguments, fingerprint):
        if not is_complete(out):
            (out / "images").mkdir(exist_ok=True)
            rows = [_write_scene(seed + i, split, out, base_url) for i in tqdm(range(n), desc="scenes", unit="img")]
            _write_table(out / "scenes.parquet", [truth for truth, _ in rows])
            _write_table(out / "laion.parquet", [laion for _, laion in rows])
            finish(out, "scenes", fingerprint, {"n_rows": n}, ("pillow", "pyarrow"))
    print(f"{out}: {n:,} images, scenes.parquet (the truth), laion.parquet (URLs and alt texts)")


def _write_scene(seed: int, split: Split, out: Path, base_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw one scene unless it is there; its rows of scenes.parquet and of laion.parquet."""
    scene = sample_scene(seed, split=split)
    rng = random.Random(f"texts-{split}-{seed}")
    key = f"{seed:09d}"
    file_name = f"images/{key}.png"
    if not (out / file_name).exists():
        _save(render(scene), out / file_name)
    text = alt_text(scene, rng)
    truth = {
        "key": key,
        "file_name": file_name,
        "url": base_url + file_name,
        "alt_text": text,
        "short_caption": short_caption(scene, rng),
        "medium_caption": medium_caption(scene, rng),
        "dense_caption": dense_caption(scene, rng),
        "questions": json.dumps([question.to_dict() for question in questions(scene, rng)]),
        "scene": json.dumps(scene.to_dict()),
        "split": split,
        "seed": seed,
    }
    laion = {
        "URL": base_url + file_name,
        "TEXT": text,
        "WIDTH": FRAME_PX,
        "HEIGHT": FRAME_PX,
        "similarity": round(rng.uniform(0.28, 0.42), 6),
        "LANGUAGE": "en",
        "hash": rng.getrandbits(63),
        "pwatermark": round(rng.betavariate(1, 8), 6),
        "punsafe": round(rng.betavariate(1, 60), 6),
        "AESTHETIC_SCORE": round(rng.uniform(4.0, 6.5), 6),
    }
    return truth, laion


def _save(image: Image.Image, path: Path) -> None:
    # whole or not at all; a picture lost to a power cut is drawn again, so no sync
    temporary = path.with_name(f".tmp-{path.name}")
    image.save(temporary, format="PNG")
    temporary.replace(path)


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary, compression="zstd")
