"""Do the intervals cover, and do the tests hold their level? `python -m tests.performance.coverage [--trials N]`.

Simulated scores of images that come in prompts, through the functions that every run uses. Covered: the mean of one
model, and the paired difference of two models whose truth is known. Level: how often two models that do not differ
are told apart at 5 %. Family: how often any of five such comparisons is, after Holm. Power: how often a difference is
found that `benchmarks.power` says is found in 80 % of cases.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.power import detectable_difference
from benchmarks.stats import clustered_difference, clustered_mean, holm, spread

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, list[str]]]

N_IMAGES = 4
N_COMPARISONS = 5
TOLERANCE = 1e-12


def normal(rng: np.random.Generator, n: int) -> tuple[Floats, list[str]]:
    """Normal prompts, normal images; mean 0."""
    return _images(rng.normal(size=n), rng)


def skewed(rng: np.random.Generator, n: int) -> tuple[Floats, list[str]]:
    """Exponential prompts, normal images; mean 0."""
    return _images(rng.exponential(size=n) - 1, rng)


def uneven(rng: np.random.Generator, n: int) -> tuple[Floats, list[str]]:
    """Normal prompts with one to eight images each, as where some failed; mean 0."""
    counts = rng.integers(1, 9, size=n)
    values = np.repeat(rng.normal(size=n), counts) + rng.normal(size=counts.sum())
    return values, [f"p{i}" for i in np.repeat(np.arange(n), counts)]


def shares(rng: np.random.Generator, n: int) -> tuple[Floats, list[str]]:
    """Right or wrong, by prompts that are mostly hard; one in four is right, told as its distance from 0.25."""
    of_prompts = rng.beta(0.5, 1.5, size=n)
    right = rng.random((n, N_IMAGES)) < of_prompts[:, None]
    return right.astype(np.float64).ravel() - 0.25, _prompts(n)


WORLDS: dict[str, Draw] = {"normal": normal, "skewed": skewed, "uneven": uneven, "shares": shares}


@click.command()
@click.option("--trials", default=4000, show_default=True, help="Of each world and number of prompts.")
@click.option("--n-resamples", default=1000, show_default=True)
@click.option("--prompts", default="12,20,50,100,300", show_default=True)
def main(trials: int, n_resamples: int, prompts: str) -> None:
    """Print shares in per cent; the standard error of each from 4,000 trials is at most 0.4 points."""
    print(f"{'prompts':>7}  {'world':8}{'covered':>9}{'covered':>12}{'level':>8}{'family':>8}{'power':>8}")
    print(f"{'':7}  {'':8}{'mean':>9}{'difference':>12}{'at 5 %':>8}{'of 5':>8}{'80 %':>8}")
    began = time.perf_counter()
    for n in map(int, prompts.split(",")):
        for world, draw in WORLDS.items():
            found = simulate(draw, n, trials, n_resamples, np.random.default_rng([n, len(world)]))
            told = "".join(f"{100 * share:{width}.1f}" for share, width in zip(found, (9, 12, 8, 8, 8), strict=True))
            print(f"{n:7}  {world:8}{told}", flush=True)
    print(f"{trials:,} trials, {n_resamples:,} resamples, {time.perf_counter() - began:.0f} s")


def simulate(
    draw: Draw, n: int, trials: int, n_resamples: int, rng: np.random.Generator
) -> tuple[float, float, float, float, float]:
    """Shares: mean covered, difference covered, equal models told apart, any of five after Holm, power found."""
    covered = difference_covered = rejected = family = found = 0
    spreads = [_deviation(*_difference(draw, rng, n)) for _ in range(200)]
    shift = detectable_difference(math.sqrt(float(np.mean(np.square(spreads)))), n)
    for trial in range(trials):
        settings = {"n_resamples": n_resamples, "seed": trial}
        values, prompts = draw(rng, n)
        estimate = clustered_mean(values, prompts, **settings)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low - TOLERANCE <= 0 <= estimate.high + TOLERANCE
        apart, prompts = _difference(draw, rng, n)
        equal = clustered_difference(apart, prompts, **settings)
        assert equal.low is not None
        assert equal.high is not None
        assert equal.p_value is not None
        difference_covered += equal.low <= 0 <= equal.high
        rejected += equal.p_value < 0.05
        shifted = clustered_difference(apart + shift, prompts, **settings).p_value
        found += shifted is not None and shifted < 0.05
        if trial % N_COMPARISONS == 0:
            others = [_difference(draw, rng, n) for _ in range(N_COMPARISONS)]
            p_values = [clustered_difference(own, names, **settings).p_value for own, names in others]
            family += any(p is not None and p < 0.05 for p in holm(p_values))
    n_families = math.ceil(trials / N_COMPARISONS)
    return covered / trials, difference_covered / trials, rejected / trials, family / n_families, found / trials


def _difference(draw: Draw, rng: np.random.Generator, n: int) -> tuple[Floats, list[str]]:
    """Two equal models on the same prompts: to each image of the one, the other's is as likely better as worse."""
    values, prompts = draw(rng, n)
    _, which = np.unique(prompts, return_inverse=True)
    signs = rng.choice((-1.0, 1.0), size=n)
    return values * signs[which], prompts


def _deviation(values: Floats, prompts: list[str]) -> float:
    found = spread(values, prompts).per_prompt
    assert found is not None
    return found


def _images(of_prompts: Floats, rng: np.random.Generator) -> tuple[Floats, list[str]]:
    n = len(of_prompts)
    return (of_prompts[:, None] + rng.normal(size=(n, N_IMAGES))).ravel(), _prompts(n)


def _prompts(n: int) -> list[str]:
    return [f"p{i}" for i in np.repeat(np.arange(n), N_IMAGES)]


if __name__ == "__main__":
    main()
