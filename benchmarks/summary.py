"""Scores -> means with intervals, models compared pair by pair, seen against unseen prompts, and power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmarks.power import power_of
from benchmarks.stats import clustered_difference, clustered_gap, clustered_mean, holm, spread

PAIR = ["prompt_id", "seed", "sample_index"]
SEEN, UNSEEN = "seen", "unseen"

Rows = list[dict[str, Any]]


def summarise(
    scores: pd.DataFrame,
    models: Sequence[str],
    headlines: Mapping[str, str],
    *,
    n_resamples: int,
    seed: int,
    splits: Mapping[str, str | None] | None = None,
) -> dict[str, Rows]:
    """What `results.json` says in numbers: `scores`, `comparisons`, `splits`, `power`, each a list of flat rows.

    `headlines` is the headline kind of each metric. `category` is None where all prompts are meant. With one category
    there are no rows by category. Comparisons are of each model with the first: of every kind over all prompts, of the
    headline kinds by category as well; p values are adjusted (Holm) among the former and, apart from them, among the
    latter.

    `splits` says of a prompt id whether models may have seen what it asks for: "seen", "unseen" or None. Of headline
    kinds, `splits` holds each model's mean of either, and unseen less seen.
    """
    settings = {"n_resamples": n_resamples, "seed": seed}
    found = list(dict.fromkeys(scores["category"]))
    categories = [None, *(found if len(found) > 1 else [])]
    kinds = [(name, kind) for name in headlines for kind in _kinds(scores, name, headlines[name])]
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
            if not by_category or kind == headlines[name]
            for category in categories
            if (category is not None) == by_category
            for model in models[1:]
        ]
        comparisons += _adjusted(family)
    return {
        "scores": rows,
        "comparisons": comparisons,
        "splits": _split_rows(scores, models, headlines, splits or {}, settings),
        "power": [row for name in headlines for row in _power_rows(scores, models, name, headlines[name])],
    }


def interval_notes(numbers: Mapping[str, Rows], n_resamples: int) -> Iterator[str]:
    """What a reader of the intervals and p values must know; `numbers` is what `summarise` gives."""
    of_what = f"{n_resamples:,} bootstrap resamples of the prompts, each with all its images"
    yield f"Brackets: 95 % intervals from {of_what}."
    if numbers.get("splits"):
        yield (
            "Unseen less seen compares different prompts, so only a large gap can be told; p is two-sided, "
            "p (Holm) allows for all of these gaps."
        )
    if not numbers["comparisons"]:
        return
    n_overall = sum(row["category"] is None for row in numbers["comparisons"])
    of_all = "the only comparison" if n_overall == 1 else f"the {n_overall} comparisons"
    yield (
        "Differences are of the same prompt, seed and sample; p is two-sided, from the same bootstrap; p (Holm) "
        f"allows for {of_all} over all prompts, or for those by category among themselves."
    )
    by_prompt = {row["model"]: row["baseline"] for row in numbers["comparisons"] if row["paired_by"] == "prompt"}
    for model, baseline in by_prompt.items():
        yield (
            f"{model} and {baseline} have no seed in common: their differences are of the means of the same prompt, "
            "and need more prompts than those of the same seeds."
        )


def _kinds(scores: pd.DataFrame, metric: str, headline: str) -> list[str]:
    """The metric's kinds of score, the headline first, then as they come."""
    return list(dict.fromkeys([headline, *scores.loc[scores["metric"] == metric, "kind"]]))


def _adjusted(family: Rows) -> Rows:
    """The rows with `p_holm`, adjusted for being this many."""
    adjusted = holm([row["p_value"] for row in family])
    return [{**row, "p_holm": p} for row, p in zip(family, adjusted, strict=True)]


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
    chosen = _valued(scores, metric, kind, category)
    differences, n_left_out, paired_by = _differences(chosen, model, baseline)
    prompts = [str(prompt_id) for prompt_id in differences.index.get_level_values("prompt_id")]
    return {
        "model": model,
        "baseline": baseline,
        "metric": metric,
        "kind": kind,
        "category": category,
        **asdict(clustered_difference(differences, prompts, **settings)),
        "n_left_out": n_left_out,
        "paired_by": paired_by,
    }


def _differences(chosen: pd.DataFrame, model: str, baseline: str) -> tuple[pd.Series[float], int, str]:
    """The paired differences, how many images have no partner, and what makes a pair.

    "image": of the same prompt, seed and sample. Where the two share none of these, "prompt": of the means of the same
    prompt.
    """
    sides = [chosen.loc[chosen["model"] == name].set_index(PAIR)["value"] for name in (model, baseline)]
    ours, theirs = sides
    n_left_out = len(ours.index.symmetric_difference(theirs.index))
    differences = (ours - theirs).dropna()  # aligned on the pair; what only one side has is left out
    if len(differences) or not len(ours) or not len(theirs):
        return differences, n_left_out, "image"
    ours, theirs = (side.groupby(level="prompt_id", sort=False).mean() for side in sides)
    differences = (ours - theirs).dropna()
    left_out = [~side.index.get_level_values("prompt_id").isin(differences.index) for side in sides]
    return differences, int(sum(lost.sum() for lost in left_out)), "prompt" if len(differences) else "image"


def _valued(scores: pd.DataFrame, metric: str, kind: str, category: str | None = None) -> pd.DataFrame:
    chosen = scores[(scores["metric"] == metric) & (scores["kind"] == kind) & scores["value"].notna()]
    return chosen if category is None else chosen[chosen["category"] == category]


def _split_rows(
    scores: pd.DataFrame,
    models: Sequence[str],
    headlines: Mapping[str, str],
    splits: Mapping[str, str | None],
    settings: dict[str, int],
) -> Rows:
    """Of each model and metric seen, unseen, and unseen less seen; only where there are prompts of both."""
    scores = scores.assign(split=scores["prompt_id"].map(dict(splits)))
    rows: Rows = []
    gaps: Rows = []
    for metric, kind in headlines.items():
        chosen = _valued(scores, metric, kind)
        for model in models:
            own = chosen[chosen["model"] == model]
            sides = {split: own[own["split"] == split] for split in (SEEN, UNSEEN)}
            if any(side.empty for side in sides.values()):
                continue
            named = {"model": model, "metric": metric, "kind": kind}
            values = {split: (side["value"], list(side["prompt_id"])) for split, side in sides.items()}
            for split, (of_split, prompts) in values.items():
                rows.append({**named, "split": split, **asdict(clustered_mean(of_split, prompts, **settings))})
            (unseen, of_unseen), (seen, of_seen) = values[UNSEEN], values[SEEN]
            gap = clustered_gap(unseen, of_unseen, seen, of_seen, **settings)
            told = ("mean", "low", "high", "p_value", "n_prompts")
            gaps.append({**named, "split": "unseen - seen", **{key: asdict(gap)[key] for key in told}})
    return rows + _adjusted(gaps)


def _power_rows(scores: pd.DataFrame, models: Sequence[str], metric: str, kind: str) -> Iterator[dict[str, Any]]:
    """Of each comparison with the first model; with one model, of two like it. None without a value."""
    chosen = _valued(scores, metric, kind)
    pairs: list[tuple[str, str | None]] = [(model, models[0]) for model in models[1:]] or [(models[0], None)]
    for model, baseline in pairs:
        if baseline is None:
            own = chosen[chosen["model"] == model].set_index(PAIR)["value"]
        else:
            own = _differences(chosen, model, baseline)[0]
        if own.empty:
            continue
        found = spread(own, [str(prompt_id) for prompt_id in own.index.get_level_values("prompt_id")])
        named = {"model": model, "baseline": baseline, "metric": metric, "kind": kind}
        yield {**named, **asdict(found), **asdict(power_of(found, is_paired=baseline is not None))}
