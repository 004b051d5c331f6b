import numpy as np
import pandas as pd
import pytest

from benchmarks.study.agreement import agreement, side_bias


def votes(choices: np.ndarray, *, swap: bool = False) -> pd.DataFrame:
    """`choices` [raters, pairs]; with `swap`, odd raters see every pair with sides swapped."""
    other = {"left": "right", "right": "left", "tie": "tie"}
    rows = []
    for rater, of_rater in enumerate(choices):
        for pair, choice in enumerate(of_rater):
            turned = swap and rater % 2
            sides = ("bb", "aa") if turned else ("aa", "bb")
            rows.append((f"r{rater}", f"q{pair}", *sides, other[choice] if turned else choice))
    return pd.DataFrame(rows, columns=["rater_id", "pair_id", "left_sha256", "right_sha256", "choice"])


def test_raters_who_say_the_same_agree_fully_whatever_side_pictures_are_on() -> None:
    rng = np.random.default_rng(0)
    same = np.tile(rng.choice(["left", "right", "tie"], 40), (5, 1))
    found = agreement(votes(same, swap=True))
    for name in ("alpha_nominal", "alpha_ordinal", "fleiss_kappa", "raw_agreement"):
        assert found[name] == pytest.approx(1.0), name


def test_raters_who_guess_agree_by_chance_only() -> None:
    rng = np.random.default_rng(1)
    found = agreement(votes(rng.choice(["left", "right", "tie"], (6, 300))))
    for name in ("alpha_nominal", "alpha_ordinal", "fleiss_kappa"):
        assert found[name] == pytest.approx(0.0, abs=0.05), name
    assert found["raw_agreement"] == pytest.approx(1 / 3, abs=0.03)


def test_a_worked_example_of_fleiss() -> None:
    """Three raters, two pairs: 3-0 and 2-1; P = (1 + 1/3) / 2, chance (5/6)^2 + (1/6)^2."""
    table = votes(np.array([["left", "left"], ["left", "left"], ["left", "right"]]))
    chance = (5 / 6) ** 2 + (1 / 6) ** 2
    assert agreement(table)["fleiss_kappa"] == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert agreement(table)["raw_agreement"] == pytest.approx(2 / 3)


def test_nothing_is_said_of_pairs_with_a_single_vote() -> None:
    found = agreement(votes(np.array([["left", "right"]])))
    assert (found["alpha_nominal"], found["fleiss_kappa"], found["raw_agreement"]) == (None, None, None)
    assert (found["n_pairs"], found["n_pairs_shared"]) == (2, 0)


def test_side_bias_is_of_votes_that_are_no_ties() -> None:
    table = votes(np.array([["left"] * 30 + ["right"] * 10 + ["tie"] * 60]))
    found = side_bias(table)
    assert found["share_left"] == 0.75
    assert found["p_value"] < 0.01
    assert found["low"] < 0.75 < found["high"]
    assert side_bias(table[table["choice"] == "tie"])["share_left"] is None
