import numpy as np
import pytest

from benchmarks.crossed import Arm, crossed, crossed_share, difference, less_best, mean_of, share_of_gain

SETTINGS = {"n_resamples": 4000, "seed": 0}
RNG = np.random.default_rng(0)
PROMPTS = RNG.normal(size=200)  # what is hard for one arm is hard for the others


def arm(mean: float, n_seeds: int, seed_sd: float = 0.05, rng: np.random.Generator = RNG) -> Arm:
    of_seeds = seed_sd * rng.normal(size=(n_seeds, 1))
    values = mean + of_seeds + PROMPTS + 0.3 * rng.normal(size=(n_seeds, len(PROMPTS)))
    return Arm(values, tuple(range(n_seeds)))


def test_differences_are_paired_by_prompt() -> None:
    arms = {"c": arm(0.0, 5, 0.0), "e": arm(0.5, 5, 0.0)}
    found = crossed(arms, ["e", "c"], difference("e", "c"), **SETTINGS)
    alone = crossed(arms, ["e"], mean_of("e"), **SETTINGS)
    assert found.low is not None
    assert found.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.6 * (alone.high - alone.low)
    assert found.p_value is not None
    assert found.p_value < 0.001
    assert (found.n_seeds, found.n_prompts) == (5, 200)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    n_right, n = 0, 80
    for _ in range(n):
        arms = {name: arm(0.0, 5, 0.2, rng) for name in ("e", "c")}
        found = crossed(arms, ["e", "c"], difference("e", "c"), n_resamples=800, seed=0)
        assert found.low is not None
        assert found.high is not None
        n_right += found.low <= 0 <= found.high
    assert n_right / n > 0.9  # seeds vary more than prompts here, and there are but five


def test_few_seeds_that_differ_widen_the_interval() -> None:
    one = {"e": arm(0.0, 5, 0.0)}
    other = {"e": Arm(one["e"].values + np.array([[-1.0], [-0.5], [0.0], [0.5], [1.0]]), one["e"].seeds)}
    narrow, wide = (crossed(arms, ["e"], mean_of("e"), **SETTINGS) for arms in (one, other))
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    # 0.79 is the spread of these five, Student's t for four degrees of freedom 2.78
    assert wide.high - wide.low == pytest.approx(2 * 2.78 * 0.79 / np.sqrt(5), rel=0.15)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_best_rival_is_the_best_in_each_draw() -> None:
    arms = {"e": arm(0.0, 3), "r": arm(0.0, 3), "s": arm(0.0, 3), "l": arm(-5.0, 1)}
    best = crossed(arms, ["e", "r", "s", "l"], less_best("e", ["r", "s", "l"]), **SETTINGS)
    rivals = [crossed(arms, ["e", name], difference("e", name), **SETTINGS).value for name in ("r", "s", "l")]
    assert best.value == pytest.approx(min(rivals))
    assert best.n_seeds == 1


def test_a_share_of_the_gain_and_of_none() -> None:
    arms = {"c": arm(0.0, 3), "e": arm(0.5, 3), "o": arm(1.0, 3)}
    found = crossed(arms, ["e", "c", "o"], share_of_gain("e", "c", "o"), **SETTINGS)
    assert found.value == pytest.approx(0.5, abs=0.15)
    assert found.low is not None
    assert found.low > 0.2
    nothing = {**arms, "o": arms["c"]}
    assert crossed({"a": arm(0.0, 3)}, ["a"], difference("a", "a"), **SETTINGS).p_value == 1.0
    assert crossed(nothing, ["e", "c", "o"], share_of_gain("e", "c", "o"), **SETTINGS).low is None


def test_prompts_without_a_value_are_left_out_of_both_sides() -> None:
    a, b = arm(0.0, 2), arm(0.0, 2)
    holed = a.values.copy()
    holed[1, :50] = np.nan
    found = crossed({"a": Arm(holed, a.seeds), "b": b}, ["a", "b"], difference("a", "b"), **SETTINGS)
    assert found.n_prompts == 150
    assert found.value == pytest.approx(a.values[:, 50:].mean() - b.values[:, 50:].mean())
    empty = crossed({"a": Arm(np.full((2, 3), np.nan), (0, 1))}, ["a"], mean_of("a"), **SETTINGS)
    assert (empty.n_prompts, empty.low) == (0, None)


def test_a_share_of_nothing_has_an_interval_all_the_same() -> None:
    found = crossed_share({"a": Arm(np.zeros((2, 50)), (0, 1))}, "a", **SETTINGS)
    assert found.value == 0.0
    assert found.high == pytest.approx(0.071, abs=0.002)
