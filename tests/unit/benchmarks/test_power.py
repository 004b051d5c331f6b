import math

import numpy as np
import pytest

from benchmarks.power import (
    MAX_PROMPTS,
    POWER,
    detectable_difference,
    power_at,
    power_notes,
    power_of,
    prompts_needed,
    round_differences,
)
from benchmarks.stats import Spread, clustered_mean, spread


def test_spread_of_ten_images_a_prompt_is_that_of_prompts_not_of_images() -> None:
    rng = np.random.default_rng(0)
    of_prompts = rng.normal(0, 0.25, size=(300, 1))
    values = (of_prompts + rng.normal(0, 0.20, size=(300, 10))).ravel()
    found = spread(values, [str(i // 10) for i in range(3000)])
    assert found.between == pytest.approx(0.25, rel=0.1)
    assert found.within == pytest.approx(0.20, rel=0.05)
    assert found.per_prompt is not None
    # the published arithmetic of T2I-CompBench: a standard error of 0.0149, not 0.0059 as of 3,000 single images
    assert found.per_prompt / math.sqrt(300) == pytest.approx(0.0149, abs=0.0008)
    estimate = clustered_mean(values, [str(i // 10) for i in range(3000)], n_resamples=2000, seed=0)
    assert estimate.high is not None
    assert estimate.mean is not None
    assert estimate.high - estimate.mean == pytest.approx(1.97 * found.per_prompt / math.sqrt(300), rel=0.08)


def test_spread_by_hand() -> None:
    found = spread([0.0, 2.0, 4.0, 6.0], ["a", "a", "b", "b"])
    assert found.per_prompt == pytest.approx(math.sqrt(8))  # of the means 1 and 5
    assert found.within == pytest.approx(math.sqrt(2))
    assert found.between == pytest.approx(math.sqrt(8 - 2 / 2))
    assert (found.n_prompts, found.images_per_prompt) == (2, 2.0)
    alone = spread([1.0, 3.0], ["a", "b"])
    assert alone.per_prompt == pytest.approx(math.sqrt(2))
    assert (alone.between, alone.within) == (None, None)
    assert spread([1.0], ["a"]).per_prompt is None
    assert spread([], []).images_per_prompt is None


# statsmodels 0.15, TTestPower().solve_power(difference / deviation, alpha=0.05, power=0.8)
@pytest.mark.parametrize(
    ("deviation", "difference", "expected"), [(1.0, 0.5, 33.37), (0.25, 0.02, 1228.31), (3.0, 0.1, 7065.90)]
)
def test_prompts_needed_are_those_of_the_textbook(deviation: float, difference: float, expected: float) -> None:
    expected = math.ceil(expected)
    assert prompts_needed(deviation, difference) == expected
    assert power_at(deviation, difference, expected) >= POWER > power_at(deviation, difference, expected - 1)


def test_power_and_the_detectable_difference_are_two_sides_of_one_thing() -> None:
    for n_prompts in (2, 5, 30, 1000):
        difference = detectable_difference(0.4, n_prompts)
        assert power_at(0.4, difference, n_prompts) == pytest.approx(POWER, abs=1e-4)
    assert power_at(1.0, 0.0, 50) == pytest.approx(0.05)  # no difference: found as often as chance allows
    assert power_at(1.0, 100.0, 50) == 1.0
    assert prompts_needed(1.0, 1e-4) is None
    assert prompts_needed(1.0, 1e4) == 2


def test_round_differences_lie_around() -> None:
    assert round_differences(0.034) == (0.01, 0.02, 0.05)
    assert round_differences(0.05) == (0.02, 0.05, 0.1)
    assert round_differences(7.0) == (2.0, 5.0, 10.0)


def test_one_model_alone_is_taken_for_two_that_have_nothing_to_do_with_each_other() -> None:
    found = spread(np.random.default_rng(1).normal(size=50), [str(i) for i in range(50)])
    paired, alone = power_of(found, is_paired=True), power_of(found, is_paired=False)
    assert paired.detectable is not None
    assert alone.detectable == pytest.approx(math.sqrt(2) * paired.detectable, rel=1e-4)
    assert power_of(Spread(0.0, None, None, 5, 1), is_paired=True).detectable is None
    assert power_of(Spread(None, None, None, 1, 1), is_paired=True).prompts_for == ()


def test_notes_say_what_is_needed() -> None:
    row = {
        "model": "b", "baseline": "a", "metric": "light", "is_paired": True, "n_prompts": 1200,
        "images_per_prompt": 4.0, "detectable": 0.0342, "prompts_for": [[0.02, 3400], [0.001, None]],
    }  # fmt: skip
    (note,) = power_notes([row], {"light": 2})
    assert "light, b against a: 1,200 prompts x 4 images separate a difference of 0.03 in 80 %" in note
    assert f"0.02 needs 3,400, 0.001 needs over {MAX_PROMPTS:,}" in note
    (other,) = power_notes([{**row, "is_paired": False, "baseline": None, "images_per_prompt": 1.0}], {"light": 2})
    assert "two models like b: 1,200 prompts separate" in other
    (flat,) = power_notes([{**row, "detectable": None, "prompts_for": []}], {"light": 2})
    assert "nothing varies" in flat
