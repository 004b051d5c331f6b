"""Statistics of scores that come in clusters: the images of one prompt are alike, so prompts are resampled.

Intervals and p values are of the prompt-clustered percentile bootstrap: prompts are drawn with replacement, each
with all its images (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Plain
percentiles are too narrow for few prompts, as if the normal distribution held instead of Student's t; they are
expanded accordingly (Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm, t

CONFIDENCE = 0.95
MAX_DRAWS_AT_ONCE = 2**22  # bounds memory to some 70 MB whatever the number of prompts
# Differences of means that are equal but for rounding.
EQUAL_WITHIN = 1e-9

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean over images with its 95 % interval; no interval from fewer than two prompts, no mean from none."""

    mean: float | None
    low: float | None
    high: float | None
    n_prompts: int
    n_images: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A model minus its baseline over the pairs of images both have; shares are of prompts, p is two-sided."""

    mean: float | None
    low: float | None
    high: float | None
    p_value: float | None
    share_better: float | None
    share_equal: float | None
    share_worse: float | None
    n_prompts: int
    n_pairs: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How much values vary, as standard deviations; None where there is too little to tell.

    `per_prompt` is that of one prompt's share in the mean, so that the standard error of the mean is
    `per_prompt / sqrt(n_prompts)`; it is made of `between` prompts and, over the root of the images a prompt,
    `within`.
    """

    per_prompt: float | None
    between: float | None
    within: float | None
    n_prompts: int
    images_per_prompt: float | None


def clustered_mean(values: ArrayLike, clusters: Sequence[str], *, n_resamples: int, seed: int) -> Estimate:
    """The mean of `values` [N] and its interval when the clusters (prompt ids, [N]) are resampled."""
    sums, counts = _per_cluster(values, clusters)
    n_images = int(counts.sum())
    if n_images == 0:
        return Estimate(None, None, None, 0, 0)
    low, high = _interval(_resampled_means(sums, counts, n_resamples, seed), len(sums))
    return Estimate(float(sums.sum() / n_images), low, high, len(sums), n_images)


def clustered_share(values: ArrayLike, clusters: Sequence[str], *, n_resamples: int, seed: int) -> Estimate:
    """As `clustered_mean`, of values from 0 to 1; where all are 0 or all are 1, beyond which no bootstrap sees, the
    interval is Wilson's for as many independent values as there are clusters."""
    estimate = clustered_mean(values, clusters, n_resamples=n_resamples, seed=seed)
    if estimate.mean not in (0.0, 1.0) or estimate.n_prompts < 2:
        return estimate
    n_right = estimate.n_prompts if estimate.mean else 0
    interval = binomtest(n_right, estimate.n_prompts).proportion_ci(CONFIDENCE, method="wilson")
    return replace(estimate, low=float(interval.low), high=float(interval.high))


def clustered_difference(
    differences: ArrayLike, clusters: Sequence[str], *, n_resamples: int, seed: int
) -> Difference:
    """The mean of paired `differences` [N], its interval, and how likely so large a one is by chance.

    The p value comes from the smaller share of resampled means on either side of zero, counted so that it is never 0.
    """
    sums, counts = _per_cluster(differences, clusters)
    n_pairs = int(counts.sum())
    if n_pairs == 0:
        return Difference(None, None, None, None, None, None, None, 0, 0)
    means = _resampled_means(sums, counts, n_resamples, seed)
    low, high = _interval(means, len(sums))
    per_prompt = sums / counts
    better = float((per_prompt > EQUAL_WITHIN).mean())
    worse = float((per_prompt < -EQUAL_WITHIN).mean())
    return Difference(
        mean=float(sums.sum() / n_pairs),
        low=low,
        high=high,
        p_value=_p_value(means, len(sums)),
        share_better=better,
        share_equal=float((np.abs(per_prompt) <= EQUAL_WITHIN).mean()),
        share_worse=worse,
        n_prompts=len(sums),
        n_pairs=n_pairs,
    )


def clustered_gap(
    values: ArrayLike,
    clusters: Sequence[str],
    others: ArrayLike,
    other_clusters: Sequence[str],
    *,
    n_resamples: int,
    seed: int,
) -> Difference:
    """The mean of `values` less that of `others`, which are of other prompts; both sides are resampled apart.

    Nothing is paired: there are no shares, `n_prompts` and `n_pairs` (images) count the smaller side.
    """
    ours, theirs = _per_cluster(values, clusters), _per_cluster(others, other_clusters)
    n_prompts = min(len(ours[0]), len(theirs[0]))
    n_images = int(min(ours[1].sum(), theirs[1].sum()))
    if n_prompts == 0:
        return Difference(None, None, None, None, None, None, None, 0, 0)
    gap = float(ours[0].sum() / ours[1].sum() - theirs[0].sum() / theirs[1].sum())
    gaps = np.zeros(0)
    if n_prompts > 1:
        gaps = _resampled_means(*ours, n_resamples, seed) - _resampled_means(*theirs, n_resamples, seed + 1)
    low, high = _interval(gaps, n_prompts)
    return Difference(gap, low, high, _p_value(gaps, n_prompts), None, None, None, n_prompts, n_images)


def spread(values: ArrayLike, clusters: Sequence[str]) -> Spread:
    """How much `values` [N] vary between clusters and within them (analysis of variance, unequal sizes allowed)."""
    numbers = np.asarray(values, dtype=np.float64)
    sums, counts = _per_cluster(numbers, clusters)
    n, n_values = len(sums), float(counts.sum())
    if n < 2:
        return Spread(None, None, None, n, n_values / n if n else None)
    mean = sums.sum() / n_values
    per_prompt = float(np.sqrt(np.square(sums - mean * counts).sum() / (n - 1)) * n / n_values)
    between = within = None
    if n_values > n:
        of_means = float((counts * np.square(sums / counts - mean)).sum())
        within_square = max(0.0, float(np.square(numbers - mean).sum()) - of_means) / (n_values - n)
        usual_count = (n_values - float(np.square(counts).sum()) / n_values) / (n - 1)
        between = float(np.sqrt(max(0.0, (of_means / (n - 1) - within_square) / usual_count)))
        within = float(np.sqrt(within_square))
    return Spread(per_prompt, between, within, n, n_values / n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for being one of several (Holm 1979), None where there is none."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted


def _per_cluster(values: ArrayLike, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of the values of each cluster."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(clusters) == 0:
        return np.zeros(0), np.zeros(0)
    _, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return np.bincount(index, weights=numbers).astype(np.float64), np.bincount(index).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, n_resamples: int, seed: int) -> Floats:
    """Means of `n_resamples` draws of as many clusters as there are; none from a single cluster."""
    n = len(sums)
    if n < 2:
        return np.zeros(0)
    rng = np.random.default_rng(seed)
    means = np.empty(n_resamples)
    step = max(1, MAX_DRAWS_AT_ONCE // n)
    for start in range(0, n_resamples, step):
        stop = min(n_resamples, start + step)
        drawn = rng.integers(n, size=(stop - start, n))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def _interval(means: Floats, n_clusters: int) -> tuple[float | None, float | None]:
    if n_clusters < 2:
        return None, None
    reach = t.ppf((1 + CONFIDENCE) / 2, n_clusters - 1) * np.sqrt(n_clusters / (n_clusters - 1))
    low, high = np.quantile(means, [norm.cdf(-reach), norm.cdf(reach)])
    return float(low), float(high)


def _p_value(means: Floats, n_clusters: int) -> float | None:
    """The level at which the interval just touches zero; at least one resampled mean counts as beyond it."""
    if n_clusters < 2:
        return None
    fewer = min((means <= EQUAL_WITHIN).sum(), (means >= -EQUAL_WITHIN).sum())
    tail = min(0.5, (fewer + 1) / (len(means) + 1))
    return float(2 * t.cdf(norm.ppf(tail) * np.sqrt((n_clusters - 1) / n_clusters), n_clusters - 1))
