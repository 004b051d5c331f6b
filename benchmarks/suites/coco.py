"""COCO captions as prompts: pictures against their captions (CLIPScore) and together against real ones (FID, KID).

Papers take 30,000 captions of val2014, one an image, each drawn by its own rule: numbers compare only where the same
captions were drawn, and the number of pictures is the same.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from benchmarks.downloads import cache_folder
from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.errors import UserError
from llm4gen_data.prompts import DEFAULT_CATEGORY
from llm4gen_data.records import Prompt

ANNOTATIONS = "captions_val2014.json"
ANNOTATIONS_URL = "http://images.cocodataset.org/annotations/annotations_trainval2014.zip"
N_PROMPTS = 30_000

SUITE = Suite(
    metrics=("clip_score", "fid"),
    prompts="benchmarks.suites.coco:captions",
    n_prompts=N_PROMPTS,
    group=by_category,
)


def captions(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """`n` captions (None: 30,000, or all there are) of as many images, drawn from `seed`.

    Read from annotations/captions_val2014.json, which the licence of COCO wants fetched by its user, in the folder
    `coco` of the cache. Raises UserError if it is not there.
    """
    path = cache_folder("coco") / ANNOTATIONS
    if not path.is_file():
        raise UserError(
            f"coco: {path}: no such file; put annotations/{ANNOTATIONS} of {ANNOTATIONS_URL} there, or give prompts "
            "of your own: --layout folder --prompts FILE"
        )
    return read_captions(path, n, seed)


def read_captions(path: Path, n: int | None = None, seed: int = 0) -> list[Prompt]:
    """As `captions`, from another file of COCO's format. Raises UserError if it is no such file."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
        by_image: dict[int, list[tuple[int, str]]] = {}
        for row in rows:
            by_image.setdefault(int(row["image_id"]), []).append((int(row["id"]), _text(row["caption"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a file of COCO captions ({type(error).__name__}: {error})") from error
    draw = random.Random(seed)
    chosen = draw.sample(sorted(by_image), min(n or N_PROMPTS, len(by_image)))
    prompts = []
    for image_id in chosen:
        caption_id, text = draw.choice(sorted(by_image[image_id]))
        prompts.append(Prompt(f"{image_id:012d}-{caption_id}", text, DEFAULT_CATEGORY, len(text.split()), None))
    return prompts


def _text(caption: Any) -> str:
    """A caption without the line ends and double spaces that some of them have."""
    text = " ".join(str(caption).split())
    if not text:
        raise ValueError("an empty caption")
    return text
