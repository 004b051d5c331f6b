import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from benchmarks.study.correlation import correlations, tie_calibrated_accuracy


def brute_force(human: np.ndarray, metric: np.ndarray) -> float:
    says = np.where(np.abs(human) < 1e-9, 0, np.sign(human))
    thresholds = [0.0, *np.abs(metric)]
    return max(float((np.where(np.abs(metric) <= t + 1e-9, 0, np.sign(metric)) == says).mean()) for t in thresholds)


def test_the_best_threshold_is_found() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        human = rng.choice([-0.5, 0.0, 0.5, 0.25], 9)
        metric = rng.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0], 9)
        accuracy, threshold = tie_calibrated_accuracy(human, metric)
        assert accuracy == pytest.approx(brute_force(human, metric))
        assert threshold >= 0


def study_and_scores() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metric `good` sees what raters see, `blind` does not, `constant` says nothing, `absent` has no value."""
    rng = np.random.default_rng(0)
    votes, scores = [], []
    for prompt in range(40):
        quality = {"one": rng.normal(), "two": rng.normal()}
        for model, value in quality.items():
            image = {"model": model, "prompt_id": f"p{prompt}", "seed": 7, "sample_index": 0, "kind": "k"}
            found = {"good": value, "blind": rng.normal(), "constant": 1.0, "absent": None}
            scores += [{**image, "metric": name, "value": value} for name, value in found.items()]
        sides = {f"{name}_{side}": value for side in "ab" for name, value in (("seed", 7), ("sample_index", 0))}
        pair = {"axis": "semantic", "pair_id": f"q{prompt}", "prompt_id": f"p{prompt}", **sides}
        for _ in range(3):
            difference = quality["one"] - quality["two"] + rng.normal(0, 0.3)
            share = 0.5 if abs(difference) < 0.2 else float(difference > 0)
            votes.append({**pair, "model_a": "one", "model_b": "two", "share_a": share})
    return pd.DataFrame(votes), pd.DataFrame(scores)


def test_a_metric_that_sees_what_raters_see_agrees_and_a_blind_one_does_not() -> None:
    votes, scores = study_and_scores()
    rows = {row["metric"]: row for row in correlations(votes, scores, n_resamples=100)}
    assert set(rows) == {"good", "blind", "constant"}
    assert rows["good"]["tau_b"] > 0.6
    assert rows["good"]["pairwise_accuracy"] > 0.8
    assert rows["good"]["tau_b_low"] < rows["good"]["tau_b"] < rows["good"]["tau_b_high"]
    assert rows["blind"]["tau_b_low"] < 0 < rows["blind"]["tau_b_high"]
    assert rows["constant"]["tau_b"] is None
    assert rows["good"]["n_pairs"] == 40


def test_tau_is_that_of_all_pairs_from_both_sides_and_turning_a_pair_changes_nothing() -> None:
    votes, scores = study_and_scores()
    human = (votes.groupby("prompt_id", sort=False)["share_a"].mean().to_numpy() - 0.5).round(9)
    good = scores[scores["metric"] == "good"].pivot_table(
        index="prompt_id", columns="model", values="value", sort=False
    )
    metric = (good["one"] - good["two"]).to_numpy(dtype=float)
    expected = kendalltau(np.r_[human, -human], np.r_[metric, -metric]).statistic
    row = correlations(votes, scores, n_resamples=2)[0]
    assert row["tau_b"] == pytest.approx(expected)
    turned = votes.rename(columns={"model_a": "model_b", "model_b": "model_a"}).assign(share_a=1 - votes["share_a"])
    assert correlations(turned, scores, n_resamples=2)[0]["tau_b"] == pytest.approx(expected)
