"""Metrics against people: does a metric prefer the image that raters preferred?

A pair is two images of one prompt. People's side of it is the mean vote, the metric's the difference of its scores.
Which image of a pair comes first means nothing, so rank correlations are of all pairs seen from both sides. Pairwise
accuracy counts ties: a metric that says a tie where people do is right, and the difference below which a metric is
said to tie is the one that makes it right most often (Deutsch, Foster and Freitag, Ties Matter, EMNLP 2023).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from benchmarks.stats import CONFIDENCE, EQUAL_WITHIN
from benchmarks.study.clustered import Floats

IMAGE = ["model", "prompt_id", "seed", "sample_index"]
MIN_PAIRS = 3


def correlations(
    verdicts: pd.DataFrame, scores: pd.DataFrame, *, n_resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """A row for each axis, metric and kind of score: tau-b, Spearman's rho, pairwise accuracy, each with its interval.

    `verdicts` has the columns `axis`, `pair_id`, `prompt_id`, `share_a` and, for a and b, `model_a`, `seed_a`,
    `sample_index_a`; `scores` is a run's scores.parquet. Intervals are of the bootstrap over prompts. Fewer than three
    pairs with a score tell nothing: no row.
    """
    of_pairs = _pairs(verdicts)
    rows = []
    for (metric, kind), of_kind in scores[scores["value"].notna()].groupby(["metric", "kind"], sort=False):
        values = of_kind.drop_duplicates(IMAGE).set_index(IMAGE)["value"]
        for axis, pairs in of_pairs.groupby("axis", sort=False):
            difference = _scores_of(pairs, "a", values) - _scores_of(pairs, "b", values)
            known = np.isfinite(difference)
            if known.sum() < MIN_PAIRS:
                continue
            # Rounded: 5/6 - 1/2 and 1/2 - 1/6 must tie.
            human = (pairs["share_a"].to_numpy(dtype=np.float64)[known] - 0.5).round(9)
            prompts = pairs["prompt_id"].to_numpy()[known]
            row = _correlation(human, difference[known].round(9), prompts, n_resamples, seed)
            rows.append({"axis": axis, "metric": metric, "kind": kind, **row, "n_left_out": int((~known).sum())})
    return rows


def tie_calibrated_accuracy(human: Floats, metric: Floats) -> tuple[float, float]:
    """The share of pairs [N] on which the metric says what people say, and the threshold of a tie that gives most.

    People prefer the first image where `human` is above zero, the second where it is below.
    """
    size = np.abs(metric)
    order = np.argsort(size, kind="stable")
    agree = (np.sign(metric) == np.sign(human)) & (size > EQUAL_WITHIN)
    ties = np.abs(human) <= EQUAL_WITHIN
    # With the threshold at the i-th smallest difference, the pairs up to it are ties and the others are not.
    right = np.concatenate([[0], np.cumsum(ties[order])]) + np.concatenate([np.cumsum(agree[order][::-1])[::-1], [0]])
    thresholds = np.concatenate([[-1.0], size[order]])
    usable = np.append(thresholds[1:] > thresholds[:-1] + EQUAL_WITHIN, True)  # equal differences tie together
    usable[0] = bool(size[order[0]] > EQUAL_WITHIN)  # no difference at all is a tie whatever the threshold
    best = int(np.argmax(np.where(usable, right, -1)))
    return float(right[best] / len(human)), max(0.0, float(thresholds[best]))


def _correlation(human: Floats, metric: Floats, prompts: Any, n_resamples: int, seed: int) -> dict[str, Any]:
    names = ("tau_b", "spearman", "pairwise_accuracy")
    threshold = tie_calibrated_accuracy(human, metric)[1]
    ids, cluster = np.unique(prompts.astype(str), return_inverse=True)
    members = [np.flatnonzero(cluster == i) for i in range(len(ids))]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n_resamples if len(ids) > 1 else 0):
        chosen = np.concatenate([members[i] for i in rng.integers(len(ids), size=len(ids))])
        drawn.append(_three(human[chosen], metric[chosen]))
    result: dict[str, Any] = {}
    for i, (name, value) in enumerate(zip(names, _three(human, metric), strict=True)):
        finite = np.array([draw[i] for draw in drawn if np.isfinite(draw[i])])
        tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        low, high = np.quantile(finite, tails) if len(finite) else (None, None)
        result[name] = value if np.isfinite(value) else None
        result[f"{name}_low"] = None if low is None else float(low)
        result[f"{name}_high"] = None if high is None else float(high)
    untied = np.abs(human) > EQUAL_WITHIN
    agree = (np.sign(metric) == np.sign(human))[untied] & (np.abs(metric) > EQUAL_WITHIN)[untied]
    return {
        **result,
        "tie_threshold": threshold,
        "accuracy_without_ties": float(agree.mean()) if untied.any() else None,
        "n_pairs": len(human),
        "n_prompts": len(ids),
    }


def _three(human: Floats, metric: Floats) -> tuple[float, float, float]:
    both_human, both_metric = np.concatenate([human, -human]), np.concatenate([metric, -metric])
    accuracy = tie_calibrated_accuracy(human, metric)[0]
    if np.ptp(both_human) == 0 or np.ptp(both_metric) == 0:
        return float("nan"), float("nan"), accuracy
    tau = float(kendalltau(both_human, both_metric, variant="b").statistic)
    return tau, float(spearmanr(both_human, both_metric).statistic), accuracy


def _pairs(verdicts: pd.DataFrame) -> pd.DataFrame:
    """A row a pair and axis: the mean of its votes."""
    names = [f"{name}_{side}" for side in "ab" for name in ("model", "seed", "sample_index")]
    grouped = verdicts.groupby(["axis", "pair_id", "prompt_id", *names], sort=False, dropna=False)
    return grouped["share_a"].mean().reset_index()


def _scores_of(pairs: pd.DataFrame, side: str, values: pd.Series) -> Floats:
    columns = [f"model_{side}", "prompt_id", f"seed_{side}", f"sample_index_{side}"]
    index = pd.MultiIndex.from_frame(pairs[columns].set_axis(IMAGE, axis=1))
    return values.reindex(index).to_numpy(dtype=np.float64)
