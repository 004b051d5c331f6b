"""Statistics of trainings repeated with several seeds, each measured on the same prompts.

Seeds and prompts are both drawn anew, independently (the pigeonhole bootstrap: Owen, The pigeonhole bootstrap, Annals
of Applied Statistics 1, 2007). Prompts are drawn for all arms alike, and seeds for arms that share them, so that
differences are paired. Percentiles are expanded for few seeds as `stats` does for few prompts, with Satterthwaite's
degrees of freedom of the two sources of variance; p values are of Student's t with the bootstrap's standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t

from benchmarks.stats import CONFIDENCE

Floats = NDArray[np.float64]
Statistic = Callable[[Mapping[str, Floats]], Floats]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: `values` [S, P] of its seeds on the prompts, and the seeds, which pair it with other arms.

    NaN where a prompt has no value.
    """

    values: Floats
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CrossedEstimate:
    """A statistic with its 95 % interval and two-sided p against 0; `n_seeds` is that of the arm with fewest.

    With one seed in an arm, the interval knows nothing of how trainings of that arm differ.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    n_seeds: int
    n_prompts: int


def mean_of(arm: str) -> Statistic:
    """The mean of an arm."""
    return lambda means: means[arm]


def difference(arm: str, baseline: str) -> Statistic:
    """An arm less its baseline."""
    return lambda means: means[arm] - means[baseline]


def less_best(arm: str, baselines: Sequence[str]) -> Statistic:
    """An arm less the best of several, whichever that is in each draw."""
    return lambda means: means[arm] - np.max([means[name] for name in baselines], axis=0)


def share_of_gain(arm: str, control: str, oracle: str) -> Statistic:
    """(arm - control) / (oracle - control); NaN where the oracle gains nothing."""

    def statistic(means: Mapping[str, Floats]) -> Floats:
        whole = means[oracle] - means[control]
        return np.where(whole > 0, (means[arm] - means[control]) / np.where(whole > 0, whole, 1.0), np.nan)

    return statistic


def crossed_share(arms: Mapping[str, Arm], name: str, *, n_resamples: int, seed: int) -> CrossedEstimate:
    """The mean of an arm whose values are from 0 to 1; where all are 0 or all are 1, beyond which no bootstrap sees,
    the interval is Wilson's for as many independent values as there are prompts."""
    estimate = crossed(arms, [name], mean_of(name), n_resamples=n_resamples, seed=seed)
    if estimate.value not in (0.0, 1.0) or estimate.n_prompts < 2:
        return estimate
    n_right = estimate.n_prompts if estimate.value else 0
    interval = binomtest(n_right, estimate.n_prompts).proportion_ci(CONFIDENCE, method="wilson")
    return replace(estimate, low=float(interval.low), high=float(interval.high))


def crossed(
    arms: Mapping[str, Arm], names: Sequence[str], statistic: Statistic, *, n_resamples: int, seed: int
) -> CrossedEstimate:
    """The statistic of the means of the arms `names`, over the prompts that all of their seeds have values of.

    No interval where there are fewer than two prompts.
    """
    chosen = {name: arms[name] for name in dict.fromkeys(names)}
    complete = np.all([np.isfinite(arm.values).all(axis=0) for arm in chosen.values()], axis=0)
    chosen = {name: Arm(arm.values[:, complete], arm.seeds) for name, arm in chosen.items()}
    n_seeds, n_prompts = min(len(arm.seeds) for arm in chosen.values()), int(complete.sum())
    if n_prompts == 0:
        return CrossedEstimate(float("nan"), None, None, None, n_seeds, 0)
    value = float(statistic({name: np.asarray(arm.values.mean()) for name, arm in chosen.items()}))
    if n_prompts < 2 or not np.isfinite(value):
        return CrossedEstimate(value, None, None, None, n_seeds, n_prompts)
    draws = statistic(_resampled(chosen, n_resamples, seed))
    draws = draws[np.isfinite(draws)]
    if len(draws) < 0.95 * n_resamples:  # a ratio whose denominator may as well be nothing has no interval
        return CrossedEstimate(value, None, None, None, n_seeds, n_prompts)
    reach = _widening(chosen, statistic, n_resamples, seed, n_prompts)
    levels = norm.cdf(np.array([-1, 1]) * t.ppf((1 + CONFIDENCE) / 2, reach.freedom) * reach.factor)
    low, high = np.quantile(draws, levels)
    # Not from the draws beyond 0: with few degrees of freedom no number of them makes p small enough for Holm.
    error = float(draws.std()) * reach.factor
    p_value = float(2 * t.sf(abs(value) / error, reach.freedom)) if error > 0 else float(value == 0)
    return CrossedEstimate(value, float(low), float(high), p_value, n_seeds, n_prompts)


def _resampled(
    arms: Mapping[str, Arm], n_resamples: int, seed: int, *, seeds: bool = True, prompts: bool = True
) -> dict[str, Floats]:
    """Each arm's mean in every draw [n_resamples]; `seeds` and `prompts` say what is drawn anew."""
    n_prompts = next(iter(arms.values())).values.shape[1]
    weights = _drawn(n_resamples, n_prompts, seed) if prompts else np.full((1, n_prompts), 1 / n_prompts)

    def of_seeds(arm: Arm) -> Floats:
        n = len(arm.seeds)
        return _drawn(n_resamples, n, seed, *arm.seeds) if seeds else np.full((1, n), 1 / n)

    return {name: ((weights @ arm.values.T) * of_seeds(arm)).sum(axis=1) for name, arm in arms.items()}


@lru_cache(maxsize=4)
def _drawn(n_resamples: int, n: int, *seed: int) -> Floats:
    """How much each of `n` counts in every draw [n_resamples, n]; the same for all that is compared."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples) / n


@dataclass(frozen=True, slots=True)
class _Widening:
    """How far beyond the normal distribution's an interval reaches: degrees of freedom, factor on the spread."""

    freedom: float
    factor: float


def _widening(arms: Mapping[str, Arm], statistic: Statistic, n_resamples: int, seed: int, n_prompts: int) -> _Widening:
    """A bootstrap of n units has (n - 1) / n of their variance: made good for each source, then Satterthwaite."""
    n_seeds = min((len(arm.seeds) for arm in arms.values() if len(arm.seeds) > 1), default=1)
    only_seeds = statistic(_resampled(arms, n_resamples, seed, prompts=False))
    only_prompts = statistic(_resampled(arms, n_resamples, seed, seeds=False))
    of_seeds, of_prompts = (float(np.nanvar(draws)) for draws in (only_seeds, only_prompts))
    parts = [(of_prompts, n_prompts), *([(of_seeds, n_seeds)] if n_seeds > 1 else [])]
    found = sum(variance for variance, _ in parts)
    if found <= 0:
        return _Widening(n_prompts - 1, 1.0)
    fair = [(variance * n / (n - 1), n) for variance, n in parts]
    total = sum(variance for variance, _ in fair)
    freedom = total**2 / sum(variance**2 / (n - 1) for variance, n in fair if variance > 0)
    return _Widening(freedom, float(np.sqrt(total / found)))
