"""Bradley-Terry strengths of three or more models from pairwise votes; a tie is half a win for each.

choix fits the matrix of wins (Maystre and Grossglauser, Fast and accurate inference of Plackett-Luce models, 2015).
Elo numbers are the same strengths on the scale that arenas use, for comparison with them only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import choix
import numpy as np
import pandas as pd

from benchmarks.study.clustered import Clusters, Floats, Indices, clusters_of, draws, scaled_interval, standard_error

# So many votes are added on either side of every compared pair: a model that always wins has a finite strength.
PRIOR_VOTES = 0.1
ELO_PER_STRENGTH, ELO_MEAN = 400 / math.log(10), 1000.0


def bradley_terry(
    verdicts: pd.DataFrame, models: Sequence[str], *, n_resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """A row a model, strongest first: log strength (mean 0), its interval over prompts and raters, Elo scale.

    `verdicts` has the columns `model_a`, `model_b`, `share_a` (1, 0.5 or 0), `prompt_id` and `rater_id`. No rows if
    fewer than three models were compared, or if the comparisons fall into groups without a link.
    """
    index = {model: i for i, model in enumerate(models)}
    first: Indices = np.array([index[model] for model in verdicts["model_a"]], dtype=np.intp)
    second: Indices = np.array([index[model] for model in verdicts["model_b"]], dtype=np.intp)
    share = verdicts["share_a"].to_numpy(dtype=np.float64)
    compared = _wins(first, second, share, np.ones(len(share)), len(models))
    if len(models) < 3 or not _is_linked(compared):
        return []
    clusters = clusters_of(list(verdicts["prompt_id"]), list(verdicts["rater_id"]))
    strengths = fit(compared)
    error, freedom = standard_error(_influence(first, second, share, strengths), clusters)
    drawn = _draws(first, second, share, clusters, len(models), n_resamples, seed)
    low, high = scaled_interval(strengths, drawn, error, freedom)
    known = error > 0
    n_votes = np.bincount(np.concatenate([first, second]), minlength=len(models))
    rows = [
        {
            "model": model,
            "strength": float(strengths[i]),
            "low": float(low[i]) if known[i] else None,
            "high": float(high[i]) if known[i] else None,
            "elo": ELO_MEAN + ELO_PER_STRENGTH * float(strengths[i]),
            "n_votes": int(n_votes[i]),
        }
        for i, model in enumerate(models)
    ]
    return sorted(rows, key=lambda row: -float(row["strength"]))


def fit(wins: Floats) -> Floats:
    """Log strengths [K], mean 0, of a matrix of wins [K, K]: `wins[i, j]` is how often i was preferred to j."""
    strengths: Floats = choix.ilsr_pairwise_dense(wins + PRIOR_VOTES * ((wins + wins.T) > 0))
    centred: Floats = strengths - strengths.mean()
    return centred


def _wins(first: Indices, second: Indices, share: Floats, weights: Floats, n_models: int) -> Floats:
    cells = np.concatenate([first * n_models + second, second * n_models + first])
    won = np.concatenate([weights * share, weights * (1 - share)])
    counts: Floats = np.bincount(cells, won, minlength=n_models**2).astype(np.float64)
    return counts.reshape(n_models, n_models)


def _draws(
    first: Indices, second: Indices, share: Floats, clusters: Clusters, n_models: int, n_resamples: int, seed: int
) -> Floats:
    """Strengths [B, K] of resamples; those whose comparisons are not linked are left out."""
    fitted = []
    for prompt_weights, rater_weights in draws(clusters, n_resamples, seed):
        for of_prompts, of_raters in zip(prompt_weights, rater_weights, strict=True):
            weights = of_prompts[clusters.prompt] * of_raters[clusters.rater]
            wins = _wins(first, second, share, weights, n_models)
            if _is_linked(wins):
                fitted.append(fit(wins))
    return np.array(fitted).reshape(-1, n_models)


def _influence(first: Indices, second: Indices, share: Floats, strengths: Floats) -> Floats:
    """What each vote adds to the deviation of the strengths [N, K]: its score times the inverse information."""
    n_models = len(strengths)
    expected = 1 / (1 + np.exp(strengths[second] - strengths[first]))
    contrast = np.zeros((len(share), n_models))
    rows = np.arange(len(share))
    contrast[rows, first], contrast[rows, second] = 1.0, -1.0
    information = (contrast * (expected * (1 - expected))[:, None]).T @ contrast
    scores: Floats = (contrast * (share - expected)[:, None]) @ np.linalg.pinv(information)
    return scores


def _is_linked(wins: Floats) -> bool:
    """Whether comparisons lead from every model to every other."""
    reached = np.eye(len(wins), dtype=bool) | ((wins + wins.T) > 0)
    for _ in range(len(wins)):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    return bool(reached.all())
