"""Results and images -> one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.images import models_of
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage
from benchmarks.report.gallery import gallery
from benchmarks.report.plot import axis_of, whiskers
from benchmarks.tables import estimate_text, p_text, share_text
from llm4gen_data.runs import write_text

# Of the identity of a metric, what reads better in its own place.
NOT_LISTED = ("headline", "digits", "metric")


def write_report(
    path: Path,
    results: Mapping[str, Any],
    scores: pd.DataFrame,
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    max_gallery_rows: int,
) -> None:
    """Write the report; `results` is what `results.json` holds. Text from prompts and manifests is escaped."""
    environment = Environment(
        loader=PackageLoader("benchmarks", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    models = models_of(images)
    page = environment.get_template("page.html.jinja").render(
        results=results,
        models=models,
        metrics=[_metric(name, metric, results, models) for name, metric in metrics.items()],
        comparisons=_comparisons(results, models, metrics),
        gallery=gallery(scores, images, metrics, max_gallery_rows),
    )
    write_text(path, page)


def _metric(name: str, metric: Metric, results: Mapping[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Everything the page says of a metric: its rows over all prompts, by category, and its identity."""
    rows = [row for row in results["scores"] if row["metric"] == name]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    categories = [category for category in dict.fromkeys(row["category"] for row in rows) if category is not None]
    found = {(row["category"], row["kind"], row["model"]): row for row in rows}
    overall = []
    for kind in kinds:
        of_kind = [found[None, kind, model] for model in models]
        overall.append(
            {
                "kind": kind,
                "cells": [estimate_text(row, metric.digits) for row in of_kind],
                "spoken": "; ".join(f"{row['model']} {estimate_text(row, metric.digits)}" for row in of_kind),
                "n_prompts": [row["n_prompts"] for row in of_kind],
                "n_images": [row["n_images"] for row in of_kind],
                "n_failed": [row["n_failed"] for row in of_kind],
                "plot": whiskers(
                    of_kind,
                    axis_of([row for row in rows if row["kind"] == kind], metric.unit),
                    models,
                    has_labels=kind == kinds[-1],
                ),
            }
        )
    by_category = [
        {
            "category": category,
            "model": model,
            "is_first": model == models[0],
            "n_prompts": max(found[category, kind, model]["n_prompts"] for kind in kinds),
            "cells": [_mean_and_interval(found[category, kind, model], metric.digits) for kind in kinds],
        }
        for category in categories
        for model in models
    ]
    identity = {key: value for key, value in results["metrics"][name].items() if key not in NOT_LISTED}
    return {"name": name, "kinds": kinds, "overall": overall, "by_category": by_category, "identity": identity}


def _mean_and_interval(row: Mapping[str, Any], digits: int) -> tuple[str, str]:
    mean, _, interval = estimate_text(row, digits).partition(" ")
    return mean, interval


def _comparisons(
    results: Mapping[str, Any], models: Sequence[str], metrics: Mapping[str, Metric]
) -> list[dict[str, Any]]:
    """A row a comparison with its place in the forest plot; plots of one metric share their scale."""
    rows = []
    for row in results["comparisons"]:
        alike = [other for other in results["comparisons"] if other["metric"] == row["metric"]]
        of_table = [other for other in alike if (other["category"] is None) == (row["category"] is None)]
        rows.append(
            {
                **row,
                "text": estimate_text(row, metrics[row["metric"]].digits, sign="+"),
                "p": p_text(row["p_value"]),
                "p_holm_text": p_text(row["p_holm"]),
                "shares": [share_text(row[f"share_{name}"]) for name in ("better", "equal", "worse")],
                "plot": whiskers([row], axis_of(alike, "difference"), models, has_labels=row is of_table[-1]),
            }
        )
    return rows
