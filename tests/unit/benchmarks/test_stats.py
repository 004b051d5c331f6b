from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from benchmarks.stats import clustered_difference, clustered_gap, clustered_mean, clustered_share, holm

SETTINGS = {"n_resamples": 2000, "seed": 0}


def test_small_cases_are_exact() -> None:
    estimate = clustered_mean([1.0, 1.0, 0.0], ["a", "a", "b"], **SETTINGS)
    assert estimate.mean == pytest.approx(2 / 3)  # of images, not of prompts
    assert (estimate.low, estimate.high) == (0.0, 1.0)  # both prompts drawn alike
    assert (estimate.n_prompts, estimate.n_images) == (2, 3)


def test_one_prompt_has_no_interval_and_none_no_mean() -> None:
    alone = clustered_mean([1.0, 0.0], ["a", "a"], **SETTINGS)
    assert (alone.mean, alone.low, alone.high, alone.n_prompts) == (0.5, None, None, 1)
    assert clustered_mean([], [], **SETTINGS).mean is None
    assert clustered_difference([], [], **SETTINGS).p_value is None
    assert clustered_difference([1.0], ["a"], **SETTINGS).p_value is None


def test_equal_values_give_an_interval_without_width() -> None:
    estimate = clustered_mean([0.5] * 10, [str(i) for i in range(10)], **SETTINGS)
    assert (estimate.low, estimate.high) == (0.5, 0.5)


def test_a_share_that_was_always_right_is_not_certain() -> None:
    always = clustered_share([1.0] * 20, [str(i // 2) for i in range(20)], **SETTINGS)
    assert (always.mean, always.n_prompts, always.n_images) == (1.0, 10, 20)
    assert always.low == pytest.approx(10 / (10 + 1.96**2), abs=1e-3)  # Wilson's, of ten, not of twenty
    assert always.high == pytest.approx(1.0)
    never = clustered_share([0.0] * 10, [str(i) for i in range(10)], **SETTINGS)
    assert never.high == pytest.approx(1 - 10 / (10 + 1.96**2), abs=1e-3)
    assert clustered_share([1.0, 0.0], ["a", "b"], **SETTINGS) == clustered_mean([1.0, 0.0], ["a", "b"], **SETTINGS)
    assert clustered_share([1.0], ["a"], **SETTINGS).low is None


def test_copies_of_an_image_add_no_certainty() -> None:
    values = np.random.default_rng(0).normal(size=30)
    clusters = [str(i) for i in range(30)]
    once = clustered_mean(values, clusters, **SETTINGS)
    fivefold = clustered_mean(np.repeat(values, 5), list(np.repeat(clusters, 5)), **SETTINGS)
    assert fivefold.low == pytest.approx(once.low)
    assert fivefold.high == pytest.approx(once.high)
    naive = clustered_mean(np.repeat(values, 5), [str(i) for i in range(150)], **SETTINGS)
    assert naive.low is not None
    assert once.low is not None
    assert naive.low > once.low


def test_memory_bound_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values, clusters = np.arange(50.0), [str(i // 2) for i in range(50)]
    whole = clustered_mean(values, clusters, **SETTINGS)
    monkeypatch.setattr("benchmarks.stats.MAX_DRAWS_AT_ONCE", 100)
    assert clustered_mean(values, clusters, **SETTINGS) == whole


@pytest.mark.parametrize("n_prompts", [12, 40])
def test_intervals_cover_the_truth_and_the_test_holds_its_level(n_prompts: int) -> None:
    rng = np.random.default_rng(n_prompts)
    n_trials, covered, rejected = 400, 0, 0
    clusters = list(np.repeat([f"{i:03d}" for i in range(n_prompts)], 4))
    for trial in range(n_trials):
        of_prompts = rng.normal(size=n_prompts)
        values = (of_prompts[:, None] + rng.normal(size=(n_prompts, 4))).ravel()
        estimate = clustered_mean(values, clusters, n_resamples=500, seed=trial)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0 <= estimate.high
        p_value = clustered_difference(values, clusters, n_resamples=500, seed=trial).p_value
        assert p_value is not None
        rejected += p_value < 0.05
    # 400 trials: the standard error of either share is 1.1 points
    assert 0.92 <= covered / n_trials <= 0.98
    assert 0.02 <= rejected / n_trials <= 0.08


def test_p_is_near_that_of_the_t_test_and_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.2, 0.3):
        values = rng.normal(shift, 1, size=100)
        found = clustered_difference(values, [str(i) for i in range(100)], n_resamples=20_000, seed=1)
        assert found.p_value == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.02)
        assert found.low is not None
        assert found.high is not None
        assert found.p_value is not None
        assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_shares_are_of_prompts_not_images() -> None:
    found = clustered_difference([1.0, 1.0, 1.0, -1.0, 0.0], ["a", "a", "a", "b", "c"], **SETTINGS)
    assert (found.share_better, found.share_equal, found.share_worse) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found.mean == pytest.approx(0.4)
    assert (found.n_prompts, found.n_pairs) == (3, 5)


def test_no_difference_at_all_is_no_evidence() -> None:
    assert clustered_difference([0.0] * 8, list("abcdefgh"), **SETTINGS).p_value == 1.0


def test_a_gap_between_different_prompts_is_that_of_two_samples() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(0.5, 1, size=120), rng.normal(0, 1, size=80)
    names = [str(i) for i in range(200)]
    found = clustered_gap(ours, names[:120], theirs, names[120:], n_resamples=20_000, seed=1)
    expected = ttest_ind(ours, theirs)
    assert found.mean == pytest.approx(ours.mean() - theirs.mean())
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert found.low == pytest.approx(expected.confidence_interval().low, abs=0.03)
    assert (found.n_prompts, found.n_pairs, found.share_better) == (80, 80, None)
    alone = clustered_gap([1.0], ["a"], [0.5], ["b"], n_resamples=100, seed=1)
    assert (alone.mean, alone.low, alone.p_value) == (0.5, None, None)
    assert clustered_gap([], [], [0.5], ["b"], n_resamples=100, seed=1).mean is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06], nan_ok=True)
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = [p for p in holm(p_values) if p is not None]
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))
