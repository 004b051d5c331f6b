"""How small a difference a run can tell, and how many prompts a given one needs, from the run's own variances.

The power of the two-sided paired t test at 5 % (noncentral t distribution), which the clustered bootstrap follows
closely; one prompt counts once, whatever the number of its images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import nct, t

from benchmarks.stats import CONFIDENCE, Spread

POWER = 0.8
MAX_PROMPTS = 10_000_000  # more than anyone has: "not to be told"
# Where the tails of the noncentral t cannot be computed they are 1 and 0 to eight digits.
CERTAIN, NEVER_WRONG = 6.0, 6.0
STEPS = (1.0, 2.0, 5.0)  # differences that people ask for: 0.01, 0.02, 0.05, 0.1


@dataclass(frozen=True, slots=True)
class Power:
    """What can be told apart with probability POWER, in units of the score.

    `detectable` is the smallest difference with the prompts there are; `prompts_for` holds round differences around it
    with the prompts that each needs, with as many images a prompt. `is_paired`: the variance is that of two models'
    differences; else it is one model's own, as if the other's scores had nothing to do with them, and differences of
    models on the same prompts and seeds need fewer prompts.
    """

    detectable: float | None
    prompts_for: tuple[tuple[float, int | None], ...]
    is_paired: bool


def power_of(found: Spread, *, is_paired: bool) -> Power:
    """The power of a comparison whose values (differences if `is_paired`, else one model's scores) vary as `found`."""
    if not found.per_prompt:  # no prompts, or values that never vary
        return Power(None, (), is_paired)
    deviation = found.per_prompt if is_paired else found.per_prompt * math.sqrt(2)
    detectable = detectable_difference(deviation, found.n_prompts)
    return Power(
        detectable,
        tuple((d, prompts_needed(deviation, d)) for d in round_differences(detectable)),
        is_paired,
    )


def power_at(deviation: float, difference: float, n_prompts: int) -> float:
    """How likely a true difference is found, 0 to 1; `deviation` is the standard deviation a prompt."""
    if n_prompts < 2:
        return 0.0
    shift = abs(difference) / deviation * math.sqrt(n_prompts)
    edge = t.ppf((1 + CONFIDENCE) / 2, n_prompts - 1)
    if shift > CERTAIN * edge:
        return 1.0
    in_the_wrong_direction = nct.cdf(-edge, n_prompts - 1, shift) if shift < NEVER_WRONG else 0.0
    return float(nct.sf(edge, n_prompts - 1, shift) + in_the_wrong_direction)


def prompts_needed(deviation: float, difference: float) -> int | None:
    """The fewest prompts that find a difference with probability POWER; None if they are over MAX_PROMPTS."""
    low, high = 1, 2  # `low` is too few
    while power_at(deviation, difference, high) < POWER:
        low, high = high, high * 2
        if low > MAX_PROMPTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(deviation, difference, middle) >= POWER else (middle, high)
    return high


def detectable_difference(deviation: float, n_prompts: int) -> float:
    """The smallest true difference that `n_prompts` (at least 2) find with probability POWER."""
    low, high = 0.0, deviation
    while power_at(deviation, high, n_prompts) < POWER:
        low, high = high, high * 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power_at(deviation, middle, n_prompts) >= POWER else (middle, high)
    return high


def round_differences(around: float) -> tuple[float, ...]:
    """Three round numbers (1, 2 or 5 times a power of ten): one above `around`, two not above it."""
    magnitude = math.floor(math.log10(around))
    series = [step * 10.0**exponent for exponent in range(magnitude - 1, magnitude + 2) for step in STEPS]
    above = next(i for i, value in enumerate(series) if value > around)
    return tuple(float(f"{value:.0e}") for value in series[above - 2 : above + 1])


def power_notes(rows: Iterable[Mapping[str, Any]], digits: Mapping[str, int]) -> Iterator[str]:
    """A sentence for each row of `power` in `results.json`; `digits` are the decimals of each metric."""
    for row in rows:
        who = f"{row['model']} against {row['baseline']}" if row["is_paired"] else f"two models like {row['model']}"
        what = f"Power, {row['metric']}, {who}"
        if row["detectable"] is None:
            yield f"{what}: nothing varies, so nothing tells how many prompts a difference needs."
            continue
        images = f" x {row['images_per_prompt']:.3g} images" if row["images_per_prompt"] != 1 else ""
        needs = ", ".join(
            f"{difference:g} needs {f'{n:,}' if n else f'over {MAX_PROMPTS:,}'}"
            for difference, n in row["prompts_for"]
        )
        unpaired = "" if row["is_paired"] else "; the same prompts and seeds for both need fewer"
        yield (
            f"{what}: {row['n_prompts']:,} prompts{images} separate a difference of "
            f"{row['detectable']:.{digits[row['metric']]}f} in {100 * POWER:.0f} % of cases (two-sided 5 %, one "
            f"comparison{unpaired}); prompts: {needs}."
        )
