"""The pictures of the report: all models' images of a prompt side by side, with their scores and the reasons."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.images import load_image, models_of
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage
from benchmarks.report.reasons import MAX_BOXES, Part, frame_of, parts_of
from llm4gen_data.recaption.prepare import ImageError

THUMBNAIL_PX = 384
PIXEL_ART_PX = 96  # pictures no larger are shown magnified, with their pixels as they are
MAGNIFICATION = 3

Key = tuple[str, int, int]
Values = Mapping[tuple[Key, str, str], float]


def gallery(
    scores: pd.DataFrame,
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    identities: Mapping[str, Mapping[str, Any]],
    max_rows: int,
) -> dict[str, Any]:
    """At most `max_rows` rows, each a prompt and a seed: those where the models differ most, others evenly spread.

    `identities` are those of the metrics, which say in what frame their boxes are.
    """
    by_key: dict[Key, dict[str, BenchImage]] = {}
    for image in images:
        by_key.setdefault(image.key, {})[image.model] = image
    models = models_of(images)
    values = _headline_values(scores, metrics)
    gaps = {key: [_gap(values, key, name, row) for name in metrics] for key, row in by_key.items()}
    chosen = _choose(list(by_key), gaps, max_rows)
    shown = scores[scores["prompt_id"].isin({key[0] for key in chosen})]
    found = {
        (*key, model): group
        for (*key, model), group in shown.groupby(["prompt_id", "seed", "sample_index", "model"], sort=False)
    }
    rows: list[dict[str, Any]] = [
        {
            "index": index,
            "prompt": next(iter(by_key[key].values())).prompt,
            "seed": key[1],
            "sample_index": key[2],
            "values": [[values.get((key, model, name)) for model in models] for name in metrics],
            "cells": [
                _cell(by_key[key].get(model), found.get((*key, model)), metrics, identities, model) for model in models
            ],
        }
        for index, key in enumerate(chosen)
    ]
    for row in rows:
        row["has_boxes"] = any(cell["boxes"] for cell in row["cells"])
        row["has_failure"] = any(
            cell["picture"] is None
            or any(kind["value"] is None for metric in cell["metrics"] for kind in metric["kinds"])
            for cell in row["cells"]
        )
    categories = list(dict.fromkeys(next(iter(by_key[key].values())).prompt.category for key in chosen))
    sortable = [
        (i, name) for i, name in enumerate(metrics) if any(v is not None for row in rows for v in row["values"][i])
    ]
    return {"rows": rows, "n_rows_in_all": len(by_key), "categories": categories, "sortable": sortable}


def _headline_values(scores: pd.DataFrame, metrics: Mapping[str, Metric]) -> dict[tuple[Key, str, str], float]:
    valued = scores[scores["value"].notna()]
    columns = valued[["prompt_id", "seed", "sample_index", "model", "metric", "kind", "value"]]
    return {
        ((prompt_id, seed, sample), model, name): value
        for prompt_id, seed, sample, model, name, kind, value in columns.itertuples(index=False)
        if name in metrics and kind == metrics[name].headline
    }


def _gap(values: Values, key: Key, metric: str, models: Mapping[str, Any]) -> float:
    """How far the models lie apart on this prompt and seed; 0 unless two of them have a value."""
    known = [values[key, model, metric] for model in models if (key, model, metric) in values]
    return max(known) - min(known) if len(known) > 1 else 0.0


def _choose(keys: Sequence[Key], gaps: Mapping[Key, Sequence[float]], max_rows: int) -> list[Key]:
    """In the order of `keys`; half of them by the gaps of each metric in turn, as far as there are gaps."""
    if len(keys) <= max_rows:
        return list(keys)
    n_metrics = len(gaps[keys[0]])
    by_metric = [
        [key for key in sorted(keys, key=lambda key: -gaps[key][i]) if gaps[key][i] > 0] for i in range(n_metrics)
    ]
    in_turn = [own[rank] for rank in range(len(keys)) for own in by_metric if rank < len(own)]
    apart = list(dict.fromkeys(in_turn))[: max_rows // 2]
    others = [key for key in keys if key not in set(apart)]
    spread = np.linspace(0, len(others) - 1, max_rows - len(apart)).round().astype(int)
    chosen = {*apart, *(others[i] for i in spread)}
    return [key for key in keys if key in chosen]


def _cell(
    image: BenchImage | None,
    scores: pd.DataFrame | None,
    metrics: Mapping[str, Metric],
    identities: Mapping[str, Mapping[str, Any]],
    model: str,
) -> dict[str, Any]:
    cell: dict[str, Any] = {"model": model, "picture": None, "problem": None, "metrics": [], "boxes": []}
    if image is None:
        return cell | {"problem": "no image of this prompt and seed"}
    size = (1, 1)
    try:
        loaded = load_image(image)
        size = loaded.size
        cell["picture"] = _embedded(loaded)
    except ImageError as error:
        cell["problem"] = str(error)
    boxes: list[Part] = []
    told = []
    for name, metric in metrics.items() if scores is not None else ():
        assert scores is not None
        of_metric = scores[scores["metric"] == name]
        if of_metric.empty:  # the metric is not for prompts like this one
            continue
        frame = frame_of(identities[name], *size)
        columns = of_metric[["kind", "value", "reason", "error_message"]]
        kinds = [
            {
                "kind": kind,
                "value": None if pd.isna(value) else value,
                "text": "failed" if pd.isna(value) else f"{value:.{metric.digits}f}",
                "parts": [(part, _number(boxes, part)) for part in parts_of(error_message or reason, *frame)],
                "is_headline": kind == metric.headline,
            }
            for kind, value, reason, error_message in columns.itertuples(index=False)
        ]
        told.append({"name": name, "is_share": metric.unit.startswith("share"), "kinds": kinds})
    return cell | {"metrics": told, "boxes": boxes if cell["picture"] else []}


def _number(boxes: list[Part], part: Part) -> int | None:
    """The place of the part's box among those of the picture, where it is put if it is new; None without a box."""
    if part.box is None:
        return None
    box = replace(part, text="")
    if box not in boxes:
        if len(boxes) == MAX_BOXES:
            return None
        boxes.append(box)
    return boxes.index(box)


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
