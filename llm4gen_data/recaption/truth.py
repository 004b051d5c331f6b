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
    worlds, alt_texts, refined = [], [], []
    for key, url, alt_text, caption in captioned[["key", "url", "alt_text", "caption"]].itertuples(index=False):
        scene = by_url.get(url) or by_file.get(key)
        if scene is not None:
            worlds.append(Scene.from_dict(json.loads(scene)))
            alt_texts.append(alt_text)
            refined.append(caption)
    if not worlds:
        raise UserError(f"{scenes}: knows none of the {len(captioned)} captioned images, neither by url nor by key")
    return {"alt text": caption_scores(worlds, alt_texts), "caption": caption_scores(worlds, refined)}
