"""Intervals for votes that come in two kinds of clusters at once: the votes on a prompt, and the votes of a rater.

Prompts and raters are drawn with replacement, independently, and a vote counts as often as its prompt times its rater
(the pigeonhole bootstrap: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007). It counts noise that
belongs to neither three times over, so the spread of the draws is scaled to the two-way cluster-robust variance
(Cameron, Gelbach and Miller, Robust Inference With Multiway Clustering, JBES 29, 2011), which counts it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.stats import norm, t

from benchmarks.stats import CONFIDENCE

MAX_DRAWS_AT_ONCE = 2**22  # of a prompt or a rater; bounds memory to some 100 MB

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which prompt and which rater each of N votes belongs to, as numbers from 0."""

    prompt: Indices
    rater: Indices
    n_prompts: int
    n_raters: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval and the two-sided p value of `against`.

    None where fewer than two prompts or two raters, or no spread at all, tell nothing of either.
    """

    mean: float | None
    low: float | None
    high: float | None
    p_value: float | None


def clusters_of(prompts: Sequence[str], raters: Sequence[str]) -> Clusters:
    """Number the prompts and the raters of votes."""
    prompt_ids, prompt = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    rater_ids, rater = np.unique(np.asarray(raters, dtype=str), return_inverse=True)
    return Clusters(prompt, rater, len(prompt_ids), len(rater_ids))


def two_way_mean(
    values: ArrayLike, clusters: Clusters, *, against: float = 0.5, n_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of `values` [N], its interval when prompts and raters are resampled, and the p value of `against`."""
    numbers = np.asarray(values, dtype=np.float64)
    n = len(numbers)
    if n == 0:
        return Interval(None, None, None, None)
    mean = float(numbers.mean())
    error, freedom = standard_error(((numbers - mean) / n)[:, None], clusters)
    if not error[0] > 0:
        return Interval(mean, None, None, None)
    shape, cells = (clusters.n_prompts, clusters.n_raters), (clusters.prompt, clusters.rater)
    # Sparse: of an arena's prompts each is judged by one of thousands.
    counts, sums = csr_array((np.ones(n), cells), shape), csr_array((numbers, cells), shape)
    drawn = []
    for prompt_weights, rater_weights in draws(clusters, n_resamples, seed):
        totals = ((prompt_weights @ counts) * rater_weights).sum(axis=1)
        won = ((prompt_weights @ sums) * rater_weights).sum(axis=1)
        drawn.append(won[totals > 0] / totals[totals > 0])  # few votes: a draw may hold none
    low, high = scaled_interval(np.array([mean]), np.concatenate(drawn)[:, None], error, freedom)
    p_value = 2 * float(t.sf(abs(mean - against) / error[0], freedom[0]))
    return Interval(mean, max(0.0, float(low[0])), min(1.0, float(high[0])), p_value)


def standard_error(influence: Floats, clusters: Clusters) -> tuple[Floats, Floats]:
    """Two-way cluster-robust standard errors [K] and their degrees of freedom [K].

    `influence` [N, K] is what each vote adds to the deviation of each of K estimates. The variance is that between
    prompts plus that between raters less that between single cells, never less than either alone; the degrees of
    freedom weigh the two by Satterthwaite's rule. Zero error from fewer than two prompts or raters.
    """
    n_estimates = influence.shape[1]
    if min(clusters.n_prompts, clusters.n_raters) < 2:
        return np.zeros(n_estimates), np.ones(n_estimates)
    cell = clusters.prompt * clusters.n_raters + clusters.rater
    between_prompts = _between(influence, clusters.prompt, clusters.n_prompts)
    between_raters = _between(influence, clusters.rater, clusters.n_raters)
    between_cells = _between(influence, np.unique(cell, return_inverse=True)[1], len(np.unique(cell)))
    variance = np.maximum.reduce([between_prompts, between_raters, between_prompts + between_raters - between_cells])
    total = between_prompts + between_raters
    parts = between_prompts**2 / (clusters.n_prompts - 1) + between_raters**2 / (clusters.n_raters - 1)
    freedom = np.divide(total**2, parts, out=np.ones(n_estimates), where=parts > 0)
    return np.sqrt(variance), freedom


def draws(clusters: Clusters, n_resamples: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """How often each prompt [B, P] and each rater [B, R] is drawn, some resamples at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, MAX_DRAWS_AT_ONCE // (clusters.n_prompts + clusters.n_raters))
    for start in range(0, n_resamples, step):
        n = min(step, n_resamples - start)
        yield (
            rng.multinomial(clusters.n_prompts, np.full(clusters.n_prompts, 1 / clusters.n_prompts), n).astype(float),
            rng.multinomial(clusters.n_raters, np.full(clusters.n_raters, 1 / clusters.n_raters), n).astype(float),
        )


def scaled_interval(estimate: Floats, drawn: Floats, error: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Ends of the intervals of `estimate` [K] from its draws [B, K], their spread scaled to `error` [K].

    The percentiles are those that Student's t with so many degrees of `freedom` [K] asks for (Hesterberg 2015).
    """
    deviations = drawn - drawn.mean(axis=0)
    spread = deviations.std(axis=0)
    scaled = deviations * np.divide(error, spread, out=np.zeros_like(error), where=spread > 0)
    reach = norm.cdf(t.ppf((1 + CONFIDENCE) / 2, freedom))
    low = np.array([np.quantile(column, 1 - level) for column, level in zip(scaled.T, reach, strict=True)])
    high = np.array([np.quantile(column, level) for column, level in zip(scaled.T, reach, strict=True)])
    return estimate + low, estimate + high


def _between(influence: Floats, cluster: Indices, n_clusters: int) -> Floats:
    """The variance [K] of an estimate if the votes of a cluster stand or fall together."""
    sums = np.zeros((n_clusters, influence.shape[1]))
    np.add.at(sums, cluster, influence)
    variance: Floats = (sums**2).sum(axis=0) * n_clusters / max(1, n_clusters - 1)
    return variance
