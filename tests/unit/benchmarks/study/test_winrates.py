import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmarks.study.strengths import bradley_terry
from benchmarks.study.winrates import win_rates

STRENGTHS = {"a": 1.0, "b": 0.2, "c": -0.3, "d": -0.9}


def verdicts(n_prompts: int = 60, n_raters: int = 20, tie_share: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    names = list(STRENGTHS)
    rows = []
    for rater in range(n_raters):
        for prompt in range(n_prompts):
            first, second = rng.choice(names, 2, replace=False)
            won = rng.random() < 1 / (1 + np.exp(STRENGTHS[second] - STRENGTHS[first]))
            share = 0.5 if rng.random() < tie_share else float(won)
            rows.append(("semantic", "xy"[prompt % 2], f"p{prompt}", f"r{rater}", first, second, share))
    columns = ["axis", "category", "prompt_id", "rater_id", "model_a", "model_b", "share_a"]
    return pd.DataFrame(rows, columns=columns)


def test_known_strengths_are_recovered_and_intervals_hold_them() -> None:
    rows = bradley_terry(verdicts(), list(STRENGTHS), n_resamples=200)
    assert [row["model"] for row in rows] == ["a", "b", "c", "d"]
    for row in rows:
        assert row["strength"] == pytest.approx(STRENGTHS[row["model"]], abs=0.25)
        assert row["low"] < STRENGTHS[row["model"]] < row["high"]
    assert sum(row["strength"] for row in rows) == pytest.approx(0, abs=1e-9)
    assert rows[0]["elo"] - rows[1]["elo"] == pytest.approx(173.7 * (rows[0]["strength"] - rows[1]["strength"]), 1e-3)


def test_a_model_that_always_wins_has_a_finite_strength() -> None:
    table = verdicts(20, 5)
    table.loc[table["model_a"] == "a", "share_a"] = 1.0
    table.loc[table["model_b"] == "a", "share_a"] = 0.0
    best = bradley_terry(table, list(STRENGTHS), n_resamples=50)[0]
    assert best["model"] == "a"
    assert np.isfinite([best["strength"], best["low"], best["high"]]).all()


def test_no_strengths_of_two_models_or_without_a_link() -> None:
    table = verdicts(20, 5)
    assert (
        bradley_terry(table[table["model_a"].isin(["a", "b"]) & table["model_b"].isin(["a", "b"])], ["a", "b"]) == []
    )
    pairs = table[["model_a", "model_b"]].apply(lambda row: set(row) in ({"a", "b"}, {"c", "d"}), axis=1)
    assert bradley_terry(table[pairs], list(STRENGTHS)) == []


def test_ties_are_counted_both_ways() -> None:
    table = verdicts(10, 4).assign(model_a="a", model_b="b")
    table["share_a"] = [1.0] * 20 + [0.5] * 10 + [0.0] * 10
    half, excluded = (row for row in win_rates(table, ["a", "b"], n_resamples=50) if row["category"] is None)
    assert (half["ties"], half["win_rate"], half["n_votes"]) == ("half", 0.625, 40)
    assert (excluded["ties"], excluded["win_rate"], excluded["n_votes"]) == ("excluded", 20 / 30, 30)
    for row in (half, excluded):
        assert (row["n_wins"], row["n_ties"], row["n_losses"]) == (20, 10, 10)
        assert row["p_exact"] == pytest.approx(binomtest(20, 30).pvalue)
        assert row["wilson_low"] < row["win_rate"] < row["wilson_high"]


def test_which_model_stands_first_in_a_vote_changes_nothing() -> None:
    table = verdicts(20, 6, tie_share=0.2)
    turned = table.rename(columns={"model_a": "model_b", "model_b": "model_a"}).assign(share_a=1 - table["share_a"])
    settings = {"n_resamples": 100, "seed": 3}
    assert win_rates(table, list(STRENGTHS), **settings) == win_rates(turned, list(STRENGTHS), **settings)


def test_a_row_for_each_category_and_the_same_p_whichever_model_is_told_of() -> None:
    rows = win_rates(verdicts(), ["a", "b"], n_resamples=100)
    assert [row["category"] for row in rows] == [None, None, "x", "x", "y", "y"]
    back = win_rates(verdicts(), ["b", "a"], n_resamples=100)
    for row, other in zip(rows, back, strict=True):
        assert row["win_rate"] == pytest.approx(1 - other["win_rate"])
        assert row["p_two_way"] == pytest.approx(other["p_two_way"])
        assert row["p_exact"] == pytest.approx(other["p_exact"])
