import json
import math
from pathlib import Path

import pytest

from benchmarks.comparison.compare import compare, tell, write
from llm4gen_data.errors import UserError
from tests.unit.benchmarks.finished_runs import LIGHT, SETTINGS, finished_run, values_of


def test_models_of_two_runs_are_paired_by_prompt_and_seed(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}), sampling={"steps": 50})
    b = finished_run(tmp_path / "b", values_of({"new": 0.3, "newer": 0.4}), sampling={"steps": 30})
    found = compare((a, b), **SETTINGS)
    assert [(row["model"], row["baseline"]) for row in found["comparisons"]] == [("new", "old"), ("newer", "old")]
    row = found["comparisons"][0]
    assert (row["paired_by"], row["n_pairs"], row["n_prompts"], row["n_left_out"]) == ("image", 40, 20, 0)
    assert row["low"] < row["mean"] < row["high"]
    assert row["mean"] == pytest.approx(0.2 + 0.2 * 0.02 / 2)
    assert row["p_value"] < row["p_holm"] < 0.05
    assert found["refused"] == []
    text = tell(found)
    assert "new " in text
    assert "Sampled differently" in text
    assert "steps: 50 -> 30" in text


def test_where_no_seed_agrees_prompts_are_paired(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}))
    b = finished_run(tmp_path / "b", values_of({"new": 0.3}), first_seed=100)
    found = compare((a, b), **SETTINGS)
    assert (found["comparisons"][0]["paired_by"], found["comparisons"][0]["n_pairs"]) == ("prompt", 20)
    assert "no seed in common" in " ".join(found["notes"])


def test_models_of_the_same_name_are_told_apart_by_their_runs(tmp_path: Path) -> None:
    a, b = (finished_run(tmp_path / name, values_of({"sd15": shift})) for name, shift in (("a", 0.1), ("b", 0.2)))
    assert compare((a, b), **SETTINGS)["models"] == ["a:sd15", "b:sd15"]
    other = finished_run(tmp_path / "deep" / "a", values_of({"sd15": 0.5}))
    assert compare((a, other), **SETTINGS)["models"] == [f"{a}:sd15", f"{other}:sd15"]


def test_prompts_of_one_run_only_are_left_out_and_told(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}, 20))
    b = finished_run(tmp_path / "b", values_of({"new": 0.3}, 12))
    found = compare((a, b), **SETTINGS)
    assert {row["n_prompts"] for row in found["scores"]} == {12}
    assert f"8 of 20 prompts of {a} are not in the other run" in " ".join(found["notes"])


def test_a_metric_that_differs_in_any_field_is_refused_and_the_field_named(tmp_path: Path) -> None:
    half, small = {**LIGHT, "dtype": "float16"}, {**LIGHT, "preprocessing": {"size": 64}}
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}), identities={"light": LIGHT, "b": LIGHT, "only": LIGHT})
    b = finished_run(tmp_path / "b", values_of({"new": 0.3}), identities={"light": half, "b": LIGHT})
    found = compare((a, b), **SETTINGS)
    assert list(found["metrics"]) == ["b"]
    assert found["refused"][0] == 'light: dtype: "float32" -> "float16"'
    assert str(b) in found["refused"][1]
    c = finished_run(tmp_path / "c", values_of({"new": 0.3}), identities={"light": small})
    with pytest.raises(UserError, match=r"cannot be compared: .*preprocessing\.size: 224 -> 64"):
        compare((a, c), **SETTINGS)


def test_official_and_fixed_never_share_a_table(tmp_path: Path) -> None:
    official, fixed = (
        finished_run(tmp_path / mode, values_of({mode: 0.1}), suite=f"t2i-compbench@2025-09/{mode}")
        for mode in ("official", "fixed")
    )
    with pytest.raises(UserError, match=r"suite: .*official.* -> .*fixed"):
        compare((official, fixed), **SETTINGS)


def test_other_prompts_under_the_same_ids_are_refused(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}))
    b = finished_run(tmp_path / "b", values_of({"new": 0.3}), texts={"p03": "a dog"})
    with pytest.raises(UserError, match=r"prompt 'p03': prompt: \"a cat p03\" -> \"a dog\""):
        compare((a, b), **SETTINGS)
    renamed = {f"q{i}": [0.1] for i in range(3)}
    c = finished_run(tmp_path / "c", {"new": renamed})
    with pytest.raises(UserError, match="no prompt in common"):
        compare((a, c), **SETTINGS)


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"old": 0.1}))
    with pytest.raises(UserError, match="no finished run"):
        compare((a, tmp_path), **SETTINGS)
    with pytest.raises(UserError, match="given twice"):
        compare((a, tmp_path / "x" / ".." / "a"), **SETTINGS)
    b = finished_run(tmp_path / "b", values_of({"new": 0.3}))
    results = json.loads((b / "results.json").read_text())
    row = results["scores"][0]
    for name, broken, told in (
        ("metrics", [], "no metrics"),
        ("scores", None, "no scores"),
        ("metrics", {"light": {}}, "metrics.light: expected its identity"),
        ("metrics", {"light": {"headline": "x", "digits": "3"}}, "metrics.light: no digits"),
        ("models", ["new", {}], "models: expected names"),
        ("scores", [1], r"scores\[0\]: expected category, high"),
        ("scores", [row, {**row, "mean": "0.3"}], r"scores\[1\].mean: expected a number"),
        ("scores", [{**row, "low": math.nan}], r"scores\[0\].low: expected a number"),
        ("scores", [{**row, "model": "other"}], r"scores\[0\]"),
        ("generated_with", [3], "generated_with"),
    ):
        (b / "results.json").write_text(json.dumps({**results, name: broken}))
        with pytest.raises(UserError, match=rf"results\.json: {told}"):
            compare((a, b), **SETTINGS)
    for text in ("{", "[" * 200_000):
        (b / "results.json").write_text(text)
        with pytest.raises(UserError, match=r"results\.json: cannot be read as JSON"):
            compare((a, b), **SETTINGS)


def test_files_are_written_once(tmp_path: Path) -> None:
    a, b = (finished_run(tmp_path / name, values_of({name: 0.1})) for name in "ab")
    found = compare((a, b), **SETTINGS)
    write(found, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"comparison.json", "comparison.md", "comparison.csv", "scores.md", "scores.csv"}
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["models"] == ["a", "b"]
    with pytest.raises(UserError, match="holds files"):
        write(found, tmp_path / "out")
