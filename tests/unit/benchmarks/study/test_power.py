import numpy as np
import pytest
from scipy.stats import binom, binomtest

from benchmarks.study.power import forecast, forecast_lines, votes_to_separate


@pytest.mark.parametrize(("rate", "n"), [(0.518, 6000), (0.603, 185)])
def test_the_paper_s_win_rates_need_the_votes_of_the_reference(rate: float, n: int) -> None:
    assert votes_to_separate(rate, 0.8) == pytest.approx(n, rel=0.02)


@pytest.mark.parametrize("power", [0.8, 0.9])
def test_so_many_votes_give_the_exact_test_that_power(power: float) -> None:
    n = votes_to_separate(0.55, power)
    significant = [k for k in range(n + 1) if abs(k - n / 2) > 20 and binomtest(k, n).pvalue <= 0.05]
    assert binom.pmf(significant, n, 0.55).sum() == pytest.approx(power, abs=0.02)


def test_forecast_and_need_agree() -> None:
    n = votes_to_separate(0.6, 0.8)
    assert forecast(n, 1, 0.8, 0.0).detectable == pytest.approx(0.6, abs=0.001)
    assert forecast(1000, 1, 0.8, 0.0).half_width == pytest.approx(0.98 / np.sqrt(1000), rel=0.01)


def test_correlated_votes_are_worth_less() -> None:
    told = forecast(100, 3, 0.8, 0.5)
    assert (told.n_votes, told.n_effective) == (300, 150.0)
    assert told.detectable > forecast(100, 3, 0.8, 0.0).detectable


@pytest.mark.parametrize("n_pairs", [1, 2, 3, 10])
def test_small_studies_have_a_forecast_too(n_pairs: int) -> None:
    lines = forecast_lines([("a against b", n_pairs)], 1, 0.8, 0.2)
    assert f"{n_pairs} votes" in lines[0]
    assert 0.5 < forecast(n_pairs, 1, 0.8, 0.2).detectable <= 1
