"""The pictures of the report: all models' images of a prompt side by side, with their scores and the reasons."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.images import load_image, models_of
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage
from llm4gen_data.recaption.prepare import ImageError

THUMBNAIL_PX = 256
PIXEL_ART_PX = 96  # pictures no larger are shown magnified, with their pixels as they are
MAGNIFICATION = 3

Key = tuple[str, int, int]


def gallery(
    scores: pd.DataFrame, images: Sequence[BenchImage], metrics: Mapping[str, Metric], max_rows: int
) -> dict[str, Any]:
    """At most `max_rows` rows, each a prompt and a seed: those where the models differ most, others evenly spread."""
    by_key: dict[Key, dict[str, BenchImage]] = {}
    for image in images:
        by_key.setdefault(image.key, {})[image.model] = image
    values = _headline_values(scores, metrics)
    gaps = {key: [_gap(values, key, name, row) for name in metrics] for key, row in by_key.items()}
    chosen = _choose(list(by_key), gaps, max_rows)
    found = {
        (*key, model): group
        for (*key, model), group in scores.groupby(["prompt_id", "seed", "sample_index", "model"], sort=False)
    }
    models = models_of(images)
    rows: list[dict[str, Any]] = []
    for index, key in enumerate(chosen):
        row = by_key[key]
        prompt = next(iter(row.values())).prompt
        lowest = [min((values.get((key, m, name), np.inf) for m in row), default=np.inf) for name in metrics]
        rows.append(
            {
                "index": index,
                "prompt": prompt,
                "seed": key[1],
                "gaps": gaps[key],
                "lowest": [None if np.isinf(value) else value for value in lowest],
                "cells": [_cell(row.get(m), found.get((*key, m)), metrics, m) for m in models],
            }
        )
    categories = list(dict.fromkeys(next(iter(by_key[key].values())).prompt.category for key in chosen))
    return {"rows": rows, "n_rows_in_all": len(by_key), "categories": categories}


def _headline_values(scores: pd.DataFrame, metrics: Mapping[str, Metric]) -> dict[tuple[Key, str, str], float]:
    valued = scores[scores["value"].notna()]
    columns = valued[["prompt_id", "seed", "sample_index", "model", "metric", "kind", "value"]]
    return {
        ((prompt_id, seed, sample), model, name): value
        for prompt_id, seed, sample, model, name, kind, value in columns.itertuples(index=False)
        if kind == metrics[name].headline
    }


def _gap(values: Mapping[tuple[Key, str, str], float], key: Key, metric: str, models: Mapping[str, Any]) -> float:
    """How far the models lie apart on this prompt and seed; 0 unless two of them have a value."""
    known = [values[key, model, metric] for model in models if (key, model, metric) in values]
    return max(known) - min(known) if len(known) > 1 else 0.0


def _choose(keys: Sequence[Key], gaps: Mapping[Key, Sequence[float]], max_rows: int) -> list[Key]:
    """In the order of `keys`; half of them by the first metric's gap, as far as there are gaps."""
    if len(keys) <= max_rows:
        return list(keys)
    apart = [key for key in sorted(keys, key=lambda key: -gaps[key][0]) if gaps[key][0] > 0][: max_rows // 2]
    others = [key for key in keys if key not in set(apart)]
    spread = np.linspace(0, len(others) - 1, max_rows - len(apart)).round().astype(int)
    chosen = {*apart, *(others[i] for i in spread)}
    return [key for key in keys if key in chosen]


def _cell(
    image: BenchImage | None, scores: pd.DataFrame | None, metrics: Mapping[str, Metric], model: str
) -> dict[str, Any]:
    if image is None:
        return {"model": model, "picture": None, "problem": "no image of this prompt and seed", "metrics": []}
    try:
        picture, problem = _embedded(load_image(image)), None
    except ImageError as error:
        picture, problem = None, str(error)
    told = []
    for name, metric in metrics.items() if scores is not None else ():
        assert scores is not None
        of_metric = scores[scores["metric"] == name]
        columns = of_metric[["kind", "value", "reason", "error_message"]]
        kinds = [
            {
                "kind": kind,
                "value": None if pd.isna(value) else value,
                "text": "failed" if pd.isna(value) else f"{value:.{metric.digits}f}",
                "reason": error_message or reason,
                "is_headline": kind == metric.headline,
            }
            for kind, value, reason, error_message in columns.itertuples(index=False)
        ]
        told.append({"name": name, "is_share": metric.unit.startswith("share"), "kinds": kinds})
    return {"model": model, "picture": picture, "problem": problem, "metrics": told}


def _embedded(image: Image.Image) -> dict[str, Any]:
    """The picture as a data URL and the size to show it at; always encoded anew, so that no foreign bytes get in."""
    buffer = io.BytesIO()
    if max(image.size) <= PIXEL_ART_PX:
        image.save(buffer, format="PNG", optimize=True)
        kind, shown = "png", (image.width * MAGNIFICATION, image.height * MAGNIFICATION)
    else:
        image = image.copy()
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
        image.save(buffer, format="JPEG", quality=85)
        kind, shown = "jpeg", image.size
    data = base64.b64encode(buffer.getvalue()).decode()
    is_magnified = kind == "png"
    return {
        "url": f"data:image/{kind};base64,{data}",
        "width": shown[0],
        "height": shown[1],
        "pixelated": is_magnified,
    }
