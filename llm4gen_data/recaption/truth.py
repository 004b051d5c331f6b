"""Captions of drawn scenes against what is true of them: facts told and facts right, before and after."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.score import FactScore, caption_scores


def truth_scores(captions: pd.DataFrame, scenes: Path) -> dict[str, dict[str, FactScore]]:
    """Fact scores of `alt_text` and `caption` over the captioned rows whose scene `scenes` (scenes.parquet) knows.

    Rows find their scene by url, or by key where the images were read from the folder. Raises UserError if no row
    does.
    """
    try:
        truth = pd.read_parquet(scenes, columns=["file_name", "url", "scene"])
    except (OSError, ValueError) as error:
        raise UserError(f"{scenes}: not the scenes.parquet of `llm4gen-data scenes`: {error}") from error
    by_url = dict(zip(truth["url"], truth["scene"], strict=True))
    by_file = dict(zip(truth["file_name"], truth["scene"], strict=True))
    captioned = captions[captions["status"] == "success"]
    known = [by_url.get(url) or by_file.get(key) for url, key in zip(captioned["url"], captioned["key"], strict=True)]
    rows = [(json.loads(scene), row) for scene, row in zip(known, captioned.itertuples(), strict=True) if scene]
    if not rows:
        raise UserError(f"{scenes}: knows none of the {len(captioned)} captioned images, neither by url nor by key")
    worlds = [Scene.from_dict(scene) for scene, _ in rows]
    return {
        "alt text": caption_scores(worlds, [row.alt_text for _, row in rows]),
        "caption": caption_scores(worlds, [row.caption for _, row in rows]),
    }
