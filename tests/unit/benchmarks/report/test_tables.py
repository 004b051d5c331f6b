import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.tables import (
    comparison_cells,
    csv_text,
    estimate_text,
    markdown,
    p_text,
    score_cells,
    split_cells,
)
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.summary import interval_notes, summarise

HEADLINES = {"light": "mean"}
SETTINGS: dict[str, Any] = {"n_resamples": 500, "seed": 0}


def table(*rows: tuple[str, str, str, int, float | None]) -> pd.DataFrame:
    """Rows of model, prompt, category, seed, value; None is a failed image."""
    full = [
        (
            model,
            prompt,
            category,
            seed,
            seed,
            "light",
            "mean",
            value,
            None,
            None,
            None if value is not None else "lost",
        )
        for model, prompt, category, seed, value in rows
    ]
    return pd.DataFrame(full, columns=SCORE_SCHEMA.names).astype({"value": "float64", "truncated": "object"})


SCORES = table(
    ("a", "p0", "x", 0, 0.1), ("a", "p1", "x", 0, 0.2), ("a", "p2", "y", 0, 0.3), ("a", "p3", "y", 0, None),
    ("b", "p0", "x", 0, 0.4), ("b", "p1", "x", 0, 0.4), ("b", "p2", "y", 0, 0.3), ("b", "p3", "y", 0, 0.9),
    ("b", "p3", "y", 1, 0.9),
)  # fmt: skip


def test_means_leave_failures_out_and_count_them() -> None:
    rows = summarise(SCORES, ["a", "b"], HEADLINES, **SETTINGS)["scores"]
    found = {(row["model"], row["category"]): row for row in rows}
    assert len(rows) == len(found) == 6
    overall = found["a", None]
    assert overall["mean"] == pytest.approx(0.2)
    assert (overall["n_prompts"], overall["n_images"], overall["n_failed"]) == (3, 3, 1)
    assert found["a", "y"]["mean"] == pytest.approx(0.3)
    assert (found["a", "y"]["n_failed"], found["a", "x"]["n_failed"], found["b", None]["n_failed"]) == (1, 0, 0)
    assert found["b", None]["mean"] == pytest.approx(0.58)  # of images


def test_comparisons_use_common_pairs_only_and_say_how_many_were_left_out() -> None:
    rows = summarise(SCORES, ["a", "b"], HEADLINES, **SETTINGS)["comparisons"]
    assert [row["category"] for row in rows] == [None, "x", "y"]
    overall = rows[0]
    assert (overall["model"], overall["baseline"]) == ("b", "a")
    assert overall["mean"] == pytest.approx((0.3 + 0.2 + 0) / 3)
    assert (overall["n_prompts"], overall["n_pairs"], overall["n_left_out"]) == (3, 3, 2)
    assert (overall["share_better"], overall["share_equal"]) == pytest.approx((2 / 3, 1 / 3))
    assert overall["p_holm"] == overall["p_value"]  # the only one over all prompts


def test_without_a_common_seed_prompts_are_paired_by_their_means() -> None:
    rows = [("a", f"p{i}", "x", s, 0.1 * i + 0.01 * s) for i in range(4) for s in (0, 1)]
    rows += [("b", f"p{i}", "x", s, 0.1 * i + 0.2) for i in range(5) for s in (7, 8)]
    numbers = summarise(table(*rows), ["a", "b"], HEADLINES, **SETTINGS)
    (row,) = numbers["comparisons"]
    assert (row["paired_by"], row["n_pairs"], row["n_prompts"], row["n_left_out"]) == ("prompt", 4, 4, 2)
    assert row["mean"] == pytest.approx(0.2 - 0.005)
    assert "b and a have no seed in common" in " ".join(interval_notes(numbers, 500))
    (power,) = numbers["power"]
    assert (power["n_prompts"], power["is_paired"]) == (4, True)


def test_seen_and_unseen_prompts_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    values = {f"p{i}": float(rng.normal(0.5 if i % 2 else 0.2, 0.1)) for i in range(60)}
    scores = table(*((m, p, "x", 0, v + (m == "b") / 9) for m in "ab" for p, v in values.items()))
    splits = {f"p{i}": ("unseen", "seen", None)[2 if i >= 50 else i % 2] for i in range(60)}
    rows = summarise(scores, ["a", "b"], HEADLINES, **SETTINGS, splits=splits)["splits"]
    found = {(row["model"], row["split"]): row for row in rows}
    assert found["a", "seen"]["n_prompts"] == found["a", "unseen"]["n_prompts"] == 25
    gap = found["a", "unseen - seen"]
    assert gap["mean"] == pytest.approx(found["a", "unseen"]["mean"] - found["a", "seen"]["mean"])
    assert gap["high"] < 0
    assert gap["p_holm"] == pytest.approx(2 * gap["p_value"])
    assert summarise(scores, ["a", "b"], HEADLINES, **SETTINGS, splits=dict.fromkeys(values, "seen"))["splits"] == []


def test_power_is_of_each_comparison_or_of_the_only_model() -> None:
    numbers = summarise(SCORES, ["a", "b"], HEADLINES, **SETTINGS)
    assert [(row["model"], row["baseline"], row["is_paired"]) for row in numbers["power"]] == [("b", "a", True)]
    alone = summarise(SCORES[SCORES["model"] == "a"], ["a"], HEADLINES, **SETTINGS)["power"]
    assert [(row["model"], row["baseline"], row["is_paired"]) for row in alone] == [("a", None, False)]


def test_three_models_are_all_compared_with_the_first() -> None:
    third = SCORES[SCORES["model"] == "b"].assign(model="c")
    rows = summarise(pd.concat([SCORES, third]), ["a", "b", "c"], HEADLINES, **SETTINGS)["comparisons"]
    overall = [row for row in rows if row["category"] is None]
    assert [(row["model"], row["baseline"]) for row in overall] == [("b", "a"), ("c", "a")]
    for row in overall:
        assert row["p_holm"] == pytest.approx(min(1.0, 2 * row["p_value"]))


def test_one_category_has_no_rows_of_its_own_and_one_model_no_comparison() -> None:
    alone = summarise(table(("a", "p0", "x", 0, 0.1), ("a", "p1", "x", 0, 0.2)), ["a"], HEADLINES, **SETTINGS)
    assert [row["category"] for row in alone["scores"]] == [None]
    assert alone["comparisons"] == []


def test_tables_are_aligned_and_complete() -> None:
    numbers = summarise(SCORES, ["a", "b"], HEADLINES, **SETTINGS)
    results: dict[str, Any] = {**numbers, "models": ["a", "b"], "metrics": {"light": {"digits": 3}}}
    lines = markdown(score_cells(results)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "0.200 [" in lines[2]
    assert "| 3 / 4 " in lines[2]
    compared = markdown(comparison_cells(results, by_category=True)).splitlines()
    assert len(compared) == 2 + 3
    assert len(comparison_cells(results, by_category=False)) == 1 + 1
    assert "+0.167 [" in compared[2]
    read = list(csv.DictReader(io.StringIO(csv_text(results["scores"]))))
    assert float(read[0]["mean"]) == results["scores"][0]["mean"]
    assert csv_text([]) == ""


def test_splits_stand_side_by_side_with_their_difference() -> None:
    row = {"model": "a", "metric": "light", "low": None, "high": None, "n_prompts": 9}
    splits = [
        {**row, "split": "seen", "mean": 0.5},
        {**row, "split": "unseen", "mean": 0.4, "n_prompts": 7},
        {**row, "split": "unseen - seen", "mean": -0.1, "p_value": 0.01, "p_holm": 0.02},
    ]
    cells = split_cells({"splits": splits, "metrics": {"light": {"digits": 2}}})
    assert cells[0] == ["metric", "model", "seen", "unseen", "unseen - seen", "p", "p (Holm)", "prompts"]
    assert cells[1] == ["light", "a", "0.50", "0.40", "-0.10", "0.010", "0.020", "9 / 7"]


def test_a_category_without_pairs_is_left_out() -> None:
    numbers = summarise(SCORES, ["a", "b"], HEADLINES, **SETTINGS)
    results: dict[str, Any] = {**numbers, "models": ["a", "b"], "metrics": {"light": {"digits": 3}}}
    results["comparisons"] = [{**row, "n_pairs": 0} for row in results["comparisons"]]
    assert len(comparison_cells(results, by_category=True)) == 1 + 1


def test_bars_and_newlines_stay_inside_their_cell() -> None:
    assert markdown([["a|b\nc"], ["d"]]).splitlines()[0] == "| a\\|b c |"


def test_numbers_in_words() -> None:
    estimate = {"mean": 0.5, "low": 0.25, "high": 0.75}
    assert estimate_text(estimate, 2) == "0.50 [0.25, 0.75]"
    assert estimate_text(estimate | {"low": None, "high": None}, 1, sign="+") == "+0.5"
    assert estimate_text(estimate | {"mean": None}, 1) == "-"
    assert [p_text(p) for p in (None, 0.0002, 0.0123, 1.0)] == ["-", "< 0.001", "0.012", "1.000"]
