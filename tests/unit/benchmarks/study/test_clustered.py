import numpy as np
import pytest

from benchmarks.study.clustered import clusters_of, two_way_mean
from tests.performance.study_coverage import SETTINGS, coverage


def test_independent_votes_have_nearly_wilsons_interval() -> None:
    rng = np.random.default_rng(0)
    prompts, raters = np.divmod(np.arange(1200), 30)
    values = (rng.random(1200) < 0.6).astype(float)
    interval = two_way_mean(values, clusters_of(list(map(str, prompts)), list(map(str, raters))), n_resamples=500)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(0.24 / 1200), rel=0.25)


def test_votes_that_repeat_their_prompt_are_worth_as_many_as_there_are_prompts() -> None:
    prompts, raters = np.divmod(np.arange(20 * 50), 50)
    values = (prompts % 2).astype(float)
    interval = two_way_mean(values, clusters_of(list(map(str, prompts)), list(map(str, raters))), n_resamples=500)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low == pytest.approx(2 * 2.09 * np.sqrt(0.25 / 19), rel=0.15)


@pytest.mark.parametrize(
    ("values", "prompts", "raters"),
    [([1.0, 0.0], ["a", "a"], ["r", "s"]), ([1.0, 0.0], ["a", "b"], ["r", "r"]), ([1.0, 1.0], ["a", "b"], ["r", "s"])],
    ids=["one prompt", "one rater", "all alike"],
)
def test_no_interval_where_nothing_tells_of_it(values: list[float], prompts: list[str], raters: list[str]) -> None:
    interval = two_way_mean(values, clusters_of(prompts, raters), n_resamples=50)
    assert interval.mean == np.mean(values)
    assert (interval.low, interval.high, interval.p_value) == (None, None, None)


def test_intervals_cover_where_prompts_and_raters_lean() -> None:
    found = coverage(SETTINGS["prompts and raters"], n_studies=60, n_resamples=200)
    assert found.two_way >= 0.87  # 95 % less three standard errors of 60 studies
    assert found.wilson < found.two_way
