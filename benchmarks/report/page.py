"""Results and images -> one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.images import models_of
from benchmarks.metrics.metric import Metric
from benchmarks.power import power_notes
from benchmarks.records import BenchImage
from benchmarks.report.gallery import gallery
from benchmarks.report.layout import measured_cells, paper_table, published_cells
from benchmarks.report.plot import axis_of, whiskers
from benchmarks.report.published import published_for
from benchmarks.report.scatter import scatter_svg, scatters
from benchmarks.report.tables import SHARES, estimate_text, p_text, share_text, split_cells
from benchmarks.report.text import visible, visible_text
from llm4gen_data.runs import write_text

# Of the identity of a metric, what reads better in its own place.
NOT_LISTED = ("headline", "digits", "higher_is_better", "metric")


def write_report(
    out: Path,
    results: Mapping[str, Any],
    scores: pd.DataFrame,
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    max_gallery_rows: int,
) -> list[str]:
    """Write the report, and its scatter plot also as a file; `results` is what `results.json` holds.

    Text from prompts and manifests is escaped; the page's own script and style are named by their hashes, so that a
    browser runs no other. Returns the paths of the files in `out`.
    """
    environment = Environment(
        loader=PackageLoader("benchmarks", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "visible_text": visible_text}
    css, js = (environment.get_template(name).render() for name in ("page.css.jinja", "page.js.jinja"))
    models = models_of(images)
    power = list(power_notes(results["power"], {name: metric.digits for name, metric in metrics.items()}))
    page = environment.get_template("page.html.jinja").render(
        results=results,
        models=models,
        notes=[note for note in results["notes"] if note not in power],
        power=power,
        metrics=[_metric(name, metric, results, models) for name, metric in metrics.items()],
        comparisons=_comparisons(results, models, metrics),
        splits=split_cells(results) if results["splits"] else None,
        scatters=scatters(results),
        paper=_paper(results, {image.prompt.category for image in images}),
        gallery=gallery(scores, images, metrics, results["metrics"], max_gallery_rows),
        css=Markup(css),
        js=Markup(js),
        css_hash=_csp_hash(css),
        js_hash=_csp_hash(js),
    )
    files = {"report.html": page}
    plot = scatter_svg(environment, results)
    if plot is not None:
        files["figures/scatter.svg"] = plot
        (out / "figures").mkdir(exist_ok=True)
    for name, text in files.items():
        write_text(out / name, text)
    return list(files)


def _csp_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _paper(results: Mapping[str, Any], categories: Collection[str]) -> dict[str, Any] | None:
    published = published_for(results["suite"])
    if published is None:
        return None
    table = paper_table(results, categories, published)
    return {"table": table, "measured": measured_cells(table), "published": published_cells(table)}


def _metric(name: str, metric: Metric, results: Mapping[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Everything the page says of a metric: its rows over all prompts, by category, and its identity."""
    rows = [row for row in results["scores"] if row["metric"] == name]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    judged = (row["category"] for row in rows if row["n_images"] or row["n_failed"])
    categories = [category for category in dict.fromkeys(judged) if category is not None]
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
    # Numbers that are no means over images have no rows by category.
    of_categories = [kind for kind in kinds if any(own == kind for category, own, _ in found if category is not None)]
    by_category = [
        {
            "category": category,
            "model": model,
            "is_first": model == models[0],
            "n_prompts": max(found[category, kind, model]["n_prompts"] for kind in of_categories),
            "cells": [_mean_and_interval(found[category, kind, model], metric.digits) for kind in of_categories],
        }
        for category in categories
        for model in models
    ]
    identity = {key: value for key, value in results["metrics"][name].items() if key not in NOT_LISTED}
    return {
        "name": name,
        "kinds": kinds,
        "overall": overall,
        "kinds_by_category": of_categories,
        "by_category": by_category,
        "identity": identity,
    }


def _mean_and_interval(row: Mapping[str, Any], digits: int) -> tuple[str, str]:
    mean, _, interval = estimate_text(row, digits).partition(" ")
    return mean, interval


def _comparisons(
    results: Mapping[str, Any], models: Sequence[str], metrics: Mapping[str, Metric]
) -> list[dict[str, Any]]:
    """A row a comparison with its place in the forest plot; plots of one metric share their scale."""
    rows = []
    # A metric that is not for a category has nothing to compare there.
    shown = [row for row in results["comparisons"] if row["category"] is None or row["n_pairs"]]
    for row in shown:
        alike = [other for other in shown if other["metric"] == row["metric"]]
        of_table = [other for other in alike if (other["category"] is None) == (row["category"] is None)]
        rows.append(
            {
                **row,
                "text": estimate_text(row, metrics[row["metric"]].digits, sign="+"),
                "p": p_text(row["p_value"]),
                "p_holm_text": p_text(row["p_holm"]),
                "shares": " / ".join(share_text(row[f"share_{name}"]).removesuffix(" %") for name in SHARES),
                "plot": whiskers([row], axis_of(alike, "difference"), models, has_labels=row is of_table[-1]),
            }
        )
    return rows
