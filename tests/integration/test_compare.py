"""Two runs of the same prompts, compared and ranked by the commands that users run."""

import json
from pathlib import Path

import pytest

from llm4gen_data.scenes.render import render
from tests.commands import assert_one_line, run
from tests.unit.benchmarks.factories import prompts_of, scenes, write_manifest

N = 16


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model `true` draws what was asked, `half` does for every other prompt."""
    folder = tmp_path_factory.mktemp("runs")
    drawn = scenes(N)
    pictures = [render(scene) for scene in drawn]
    half = [pictures[i if i % 2 else i - 2] for i in range(N)]
    for name, of_model in (("true", pictures), ("half", half)):
        write_manifest(folder / f"images-{name}", prompts_of(drawn), {name: of_model})
        images = ("--images", folder / f"images-{name}", "--out", folder / name)
        result = run("llm4gen-bench", "run", "--suite", "scenes", "--metrics", "scene_reader", *images)
        assert result.returncode == 0, result.stderr
        assert "Power, scene_reader, two models like" in result.stdout
    return folder / "true", folder / "half"


def test_compare_pairs_prompts_and_writes_files(runs: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("llm4gen-bench", "compare", *runs, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    overall = found["comparisons"][0]
    assert (overall["model"], overall["baseline"], overall["n_pairs"]) == ("half", "true", N)
    assert overall["high"] < 0
    assert overall["p_holm"] < 0.05
    assert found["power"][0]["prompts_for"]
    assert "Power, scene_reader, half against true" in result.stdout


def test_leaderboard_ranks_and_refuses(runs: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("llm4gen-bench", "leaderboard", *runs, "--out", tmp_path / "board.json")
    assert result.returncode == 0, result.stderr
    (ranking,) = json.loads((tmp_path / "board.json").read_text())["rankings"]
    assert [row["model"] for row in ranking["rows"]] == ["true", "half"]
    results = json.loads((runs[1] / "results.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for path in runs[1].glob("*.*"):
        (other / path.name).write_bytes(path.read_bytes())
    results["metrics"]["scene_reader"]["version"] = 99
    (other / "results.json").write_text(json.dumps(results))
    refused = run("llm4gen-bench", "leaderboard", *runs, other)
    assert f"Refused: {other}: scene_reader: version: " in refused.stdout
    assert_one_line(run("llm4gen-bench", "compare", runs[0], other), 1, "version", "99")


def test_calibrate_measures_a_metric(tmp_path: Path) -> None:
    command = ("llm4gen-bench", "calibrate", "--metric", "clip_score", "--n", 6, "--out", tmp_path / "clip.json")
    result = run(*command)
    assert result.returncode == 0, result.stderr
    (calibration,) = json.loads((tmp_path / "clip.json").read_text())["calibrations"]
    rows = {row["skill"]: row for row in calibration["skills"]}
    assert rows["color"]["right_picture"]["mean"] > 0.8
    assert_one_line(run("llm4gen-bench", "calibrate", "--metric", "clip_scor"), 2, "did you mean 'clip_score'")
