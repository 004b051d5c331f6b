"""What a study of a given size will be able to tell, said before anyone votes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

ALPHA = 0.05
WIN_RATES = (0.52, 0.55, 0.60, 0.65)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one pair of models on one axis: `n_votes` are worth `n_effective` independent ones; rates in 0-1."""

    n_votes: int
    n_effective: float
    half_width: float
    detectable: float


def votes_to_separate(win_rate: float, power: float) -> int:
    """How many independent votes separate `win_rate` from one half, two-sided at 5 %, with probability `power`."""
    effect = proportion_effectsize(win_rate, 0.5)
    # ratio 0: one sample against a fixed value
    n: float = NormalIndPower().solve_power(effect, alpha=ALPHA, power=power, ratio=0)
    return math.ceil(n)


def forecast(n_pairs: int, raters_per_pair: int, power: float, correlation: float) -> Forecast:
    """What `n_pairs` pairs with so many raters each can tell.

    Votes of different raters on the same pair, correlated by `correlation`, are worth fewer than as many
    independent ones: the design effect of Kish, 1 + (raters - 1) x correlation.
    """
    n_votes = n_pairs * raters_per_pair
    n_effective = n_votes / (1 + (raters_per_pair - 1) * correlation)
    low, high = proportion_confint(n_effective / 2, n_effective, alpha=ALPHA, method="wilson")
    effect = NormalIndPower().solve_power(None, nobs1=n_effective, alpha=ALPHA, power=power, ratio=0)
    # beyond an effect of pi/2 not even a win rate of 100 % could be told from one half
    detectable = math.sin(math.pi / 4 + min(effect, math.pi / 2) / 2) ** 2
    return Forecast(n_votes, n_effective, (high - low) / 2, detectable)


def forecast_lines(
    pairs: Sequence[tuple[str, int]], raters_per_pair: int, power: float, correlation: float
) -> list[str]:
    """The forecast in words; `pairs` are names of two models with their number of pairs of pictures."""
    lines = []
    for name, n_pairs in pairs:
        told = forecast(n_pairs, raters_per_pair, power, correlation)
        least = f"{told.detectable:.1%}" if told.detectable < 0.9999 else "no win rate at all"
        lines.append(
            f"{name}, each axis: {told.n_votes} votes, worth about {told.n_effective:.0f} independent ones "
            f"(correlation {correlation:g} on a pair): interval +-{told.half_width:.1%}, "
            f"{power:.0%} power from a win rate of {least}"
        )
    for rate in WIN_RATES:
        n = votes_to_separate(rate, power)
        pairs_needed = math.ceil(n * (1 + (raters_per_pair - 1) * correlation) / raters_per_pair)
        lines.append(
            f"to separate {rate:.0%} from 50% you need {n} independent votes, "
            f"here {pairs_needed} pairs with {raters_per_pair} raters each"
        )
    return lines
