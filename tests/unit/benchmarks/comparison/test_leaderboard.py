from pathlib import Path
from typing import Any

import pytest

from benchmarks.comparison.leaderboard import leaderboard, tell
from llm4gen_data.errors import UserError
from tests.unit.benchmarks.finished_runs import LIGHT, SETTINGS, finished_run, values_of


def test_models_are_ranked_with_their_differences_to_the_first(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"low": 0.1, "high": 0.4}))
    b = finished_run(tmp_path / "b", values_of({"middle": 0.3}))
    (ranking,) = leaderboard((a, b), **SETTINGS)["rankings"]
    assert [(row["rank"], row["model"], row["run"]) for row in ranking["rows"]] == [
        (1, "high", str(a)), (2, "middle", str(b)), (3, "low", str(a)),
    ]  # fmt: skip
    assert ranking["rows"][0]["difference"] is None
    assert ranking["rows"][1]["difference"]["mean"] == pytest.approx(-0.1 - 0.1 * 0.02 / 2)
    assert all(row["is_separated"] for row in ranking["rows"][1:])


def test_models_that_are_not_separated_are_marked(tmp_path: Path) -> None:
    values = values_of({"a": 0.1})["a"]
    other = {prompt: [value + (-1) ** i * 0.01 for value in own] for i, (prompt, own) in enumerate(values.items())}
    a, b = finished_run(tmp_path / "a", {"a": values}), finished_run(tmp_path / "b", {"b": other})
    board = leaderboard((a, b), **SETTINGS)
    assert board["rankings"][0]["rows"][1]["is_separated"] is False
    assert "| 2 *" in tell(board)


def test_incomparable_rows_are_refused_with_the_field(tmp_path: Path) -> None:
    first = finished_run(tmp_path / "first", values_of({"one": 0.1, "two": 0.2}))
    dtype = finished_run(
        tmp_path / "dtype", values_of({"three": 0.3}), identities={"light": {**LIGHT, "dtype": "float16"}}
    )
    suite = finished_run(tmp_path / "suite", values_of({"four": 0.3}), suite="t2i-compbench@2025-09/fixed")
    fewer = finished_run(tmp_path / "fewer", values_of({"five": 0.3}, 12))
    text = finished_run(tmp_path / "text", values_of({"six": 0.3}), texts={"p00": "a dog"})
    board = leaderboard((first, dtype, suite, fewer, text), **SETTINGS)
    assert [row["model"] for row in board["rankings"][0]["rows"]] == ["two", "one"]
    reasons = " / ".join(board["refused"])
    for word in ('dtype: "float32" -> "float16"', "suite:", "prompts: 20 -> 12 (8 are missing, 0 are others)", "p00"):
        assert word in reasons
    assert tell(board).count("Refused: ") == 4


def test_numbers_of_all_pictures_together_are_ranked_by_the_same_count_only(tmp_path: Path) -> None:
    fid = {**LIGHT, "headline": "fid[clean]", "higher_is_better": False}

    def run(name: str, value: float, n_images: int) -> Path:
        row: dict[str, Any] = {
            "model": name, "metric": "fid", "kind": "fid[clean]", "category": None, "mean": value, "low": None,
            "high": None, "n_prompts": 20, "n_images": n_images, "n_failed": 0, "truncated_share": None,
        }  # fmt: skip
        return finished_run(tmp_path / name, values_of({name: 0.1}), identities={"fid": fid}, corpus_rows=[row])

    board = leaderboard((run("far", 40.0, 1000), run("near", 20.0, 1000), run("few", 10.0, 500)), **SETTINGS)
    assert [(row["model"], row["difference"]) for row in board["rankings"][0]["rows"]] == [
        ("near", None),
        ("far", None),
    ]
    assert "n_images: 1000 -> 500" in board["refused"][0]
    assert "lower is better" in tell(board)


def test_what_cannot_be_ranked_is_told(tmp_path: Path) -> None:
    a = finished_run(tmp_path / "a", values_of({"one": 0.1}))
    with pytest.raises(UserError, match="nothing to rank"):
        leaderboard((a,), **SETTINGS)
    with pytest.raises(UserError, match="'heavy': no run has it; they have light"):
        leaderboard((a,), ("heavy",), **SETTINGS)
