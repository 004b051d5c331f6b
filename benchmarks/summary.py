"""Scores -> means with intervals, and models compared pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmarks.config import BenchConfig
from benchmarks.metrics.metric import Metric
from benchmarks.stats import clustered_difference, clustered_mean, holm

PAIR = ["prompt_id", "seed", "sample_index"]


def summarise(scores: pd.DataFrame, models: Sequence[str], metrics: Mapping[str, Metric], config: BenchConfig) -> Any:
    """What `results.json` says in numbers: `scores` and `comparisons`, each a list of flat rows.

    `category` is None where all prompts are meant. With one category there are no rows by category. Comparisons are
    of each model with the first: of every kind over all prompts, of the headline kinds by category as well; p values
    are adjusted (Holm) among the former and, apart from them, among the latter.
    """
    settings = {"n_resamples": config.n_resamples, "seed": config.bootstrap_seed}
    found = list(dict.fromkeys(scores["category"]))
    categories = [None, *(found if len(found) > 1 else [])]
    kinds = [(name, kind) for name in metrics for kind in _kinds(scores, name, metrics[name].headline)]
    rows = [
        _score_row(scores, model, name, kind, category, settings)
        for name, kind in kinds
        for category in categories
        for model in models
    ]
    comparisons = []
    for by_category in (False, True):
        family = [
            _comparison_row(scores, model, models[0], name, kind, category, settings)
            for name, kind in kinds
            if not by_category or kind == metrics[name].headline
            for category in categories
            if (category is not None) == by_category
            for model in models[1:]
        ]
        adjusted = holm([row["p_value"] for row in family])
        comparisons += [{**row, "p_holm": p} for row, p in zip(family, adjusted, strict=True)]
    return {"scores": rows, "comparisons": comparisons}


def _kinds(scores: pd.DataFrame, metric: str, headline: str) -> list[str]:
    """The metric's kinds of score, the headline first, then as they come."""
    return list(dict.fromkeys([headline, *scores.loc[scores["metric"] == metric, "kind"]]))


def _score_row(
    scores: pd.DataFrame, model: str, metric: str, kind: str, category: str | None, settings: dict[str, int]
) -> dict[str, Any]:
    of_metric = scores[(scores["model"] == model) & (scores["metric"] == metric)]
    if category is not None:
        of_metric = of_metric[of_metric["category"] == category]
    valued = of_metric[(of_metric["kind"] == kind) & of_metric["value"].notna()]
    estimate = clustered_mean(valued["value"], list(valued["prompt_id"]), **settings)
    told = valued["truncated"].dropna()
    return {
        "model": model,
        "metric": metric,
        "kind": kind,
        "category": category,
        **asdict(estimate),
        "n_failed": len(of_metric.loc[of_metric["error_message"].notna(), PAIR].drop_duplicates()),
        "truncated_share": float(told.astype(bool).mean()) if len(told) else None,
    }


def _comparison_row(
    scores: pd.DataFrame,
    model: str,
    baseline: str,
    metric: str,
    kind: str,
    category: str | None,
    settings: dict[str, int],
) -> dict[str, Any]:
    chosen = scores[(scores["metric"] == metric) & (scores["kind"] == kind) & scores["value"].notna()]
    if category is not None:
        chosen = chosen[chosen["category"] == category]
    sides = (chosen.loc[chosen["model"] == name].set_index(PAIR)["value"] for name in (model, baseline))
    ours, theirs = sides
    differences = (ours - theirs).dropna()  # aligned on the pair; what only one side has is left out
    prompts = [str(prompt_id) for prompt_id in differences.index.get_level_values("prompt_id")]
    return {
        "model": model,
        "baseline": baseline,
        "metric": metric,
        "kind": kind,
        "category": category,
        **asdict(clustered_difference(differences, prompts, **settings)),
        "n_left_out": len(ours.index.symmetric_difference(theirs.index)),
    }
