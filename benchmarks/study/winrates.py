"""Win rates of one model against another, by axis and category, with ties counted both ways."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from benchmarks.stats import CONFIDENCE, holm
from benchmarks.study.clustered import clusters_of, two_way_mean

# A tie is half a win, or no vote at all.
TIES = ("half", "excluded")


def win_rates(
    verdicts: pd.DataFrame, models: Sequence[str], *, n_resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Any]]:
    """A row for each axis, two models that were compared, category (None: all) and way to count ties.

    `verdicts` has the columns `axis`, `category`, `prompt_id`, `rater_id`, `model_a`, `model_b`, `share_a` (1, 0.5 or
    0). A row's `win_rate` is of `model` against `opponent`, the former being first in `models`. Wilson's interval and
    the exact binomial test take votes for independent; the two-way interval and its p value do not. p values are
    adjusted (Holm) over the rows of all categories together, each way to count ties by itself.
    """
    turned = _in_order(verdicts, models)
    found = list(dict.fromkeys(turned["category"]))
    categories: list[str | None] = [None, *(found if len(found) > 1 else [])]
    rows = []
    for axis in dict.fromkeys(turned["axis"]):
        for model, opponent in combinations(models, 2):
            of_pair = turned[(turned["axis"] == axis) & (turned["model_a"] == model) & (turned["model_b"] == opponent)]
            if of_pair.empty:
                continue
            for category in categories:
                chosen = of_pair if category is None else of_pair[of_pair["category"] == category]
                names = {"axis": axis, "model": model, "opponent": opponent, "category": category}
                rows += [{**names, **win_rate(chosen, ties, n_resamples, seed)} for ties in TIES]
    for ties in TIES:
        family = [row for row in rows if row["ties"] == ties and row["category"] is None]
        for row, adjusted in zip(family, holm([row["p_two_way"] for row in family]), strict=True):
            row["p_two_way_holm"] = adjusted
    return [{"p_two_way_holm": None, **row} for row in rows]


def win_rate(verdicts: pd.DataFrame, ties: str, n_resamples: int, seed: int) -> dict[str, Any]:
    """The share of `verdicts` that `model_a` wins; every number of it is None where no vote counts."""
    wins, tied, losses = (int((verdicts["share_a"] == share).sum()) for share in (1.0, 0.5, 0.0))
    counted = verdicts if ties == "half" else verdicts[verdicts["share_a"] != 0.5]
    clusters = clusters_of(list(counted["prompt_id"]), list(counted["rater_id"]))
    two_way = two_way_mean(counted["share_a"], clusters, n_resamples=n_resamples, seed=seed)
    n = len(counted)
    won = wins + tied / 2 if ties == "half" else wins
    low, high = proportion_confint(won, n, alpha=1 - CONFIDENCE, method="wilson") if n else (None, None)
    return {
        "ties": ties,
        "win_rate": two_way.mean,
        "two_way_low": two_way.low,
        "two_way_high": two_way.high,
        "wilson_low": None if low is None else float(low),
        "wilson_high": None if high is None else float(high),
        "p_exact": float(binomtest(wins, wins + losses).pvalue) if wins + losses else None,
        "p_two_way": two_way.p_value,
        "n_wins": wins,
        "n_ties": tied,
        "n_losses": losses,
        "n_votes": n,
        "n_prompts": clusters.n_prompts,
        "n_raters": clusters.n_raters,
    }


def _in_order(verdicts: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The same verdicts with the model that comes first in `models` as model_a."""
    place = {model: i for i, model in enumerate(models)}
    swapped = verdicts["model_a"].map(place) > verdicts["model_b"].map(place)
    turned = verdicts.copy()
    turned.loc[swapped, ["model_a", "model_b"]] = verdicts.loc[swapped, ["model_b", "model_a"]].to_numpy()
    turned.loc[swapped, "share_a"] = 1 - verdicts.loc[swapped, "share_a"]
    return turned
