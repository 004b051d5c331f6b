import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.config import BenchConfig
from benchmarks.run import run
from benchmarks.study.analysis import analyse
from benchmarks.study.config import AnalysisConfig
from benchmarks.study.records import KeyPair
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import write_manifest
from tests.unit.benchmarks.study.simulated import simulated_study, simulated_votes, write_study

BRIGHTNESS = "tests.unit.benchmarks.fake_metric:Brightness"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People saw prompts p0 to p3 of the models one and two, and liked one."""
    folder = tmp_path_factory.mktemp("study")
    study, checks, key = simulated_study(["one", "two"], n_prompts=4, n_raters=3)
    seeds: dict[str, KeyPair] = {pair_id: replace(pair, seed=0) for pair_id, pair in key.pairs.items()}
    key = replace(key, pairs=seeds)
    votes = simulated_votes(study, checks, key, {"one": 2.0, "two": -2.0})
    analyse(AnalysisConfig(write_study(folder / "study", study, checks, key, votes), n_resamples=20), folder / "out")
    return folder / "out"


def images(folder: Path, prefix: str = "p") -> Path:
    prompts = [Prompt(f"{prefix}{i}", f"picture {i}", ("first", "second")[i % 2], 2, None) for i in range(6)]
    pictures = {"one": [picture(i) for i in range(6)], "two": [picture(7 * i + 3) for i in range(6)]}
    return write_manifest(folder, prompts, pictures)


def config(folder: Path, study: Path | None, **changes: Any) -> BenchConfig:
    values: dict[str, Any] = {"images": (folder,), "metrics": (BRIGHTNESS,), "n_resamples": 50, "study": study}
    return BenchConfig(suite="scenes", **(values | changes))


def test_people_and_metrics_stand_in_one_report(tmp_path: Path, analysed: Path) -> None:
    run(config(images(tmp_path / "images"), analysed), tmp_path / "out")
    scores = pq.read_table(tmp_path / "out" / "scores.parquet").to_pandas()
    assert scores.groupby("metric").size().to_dict() == {
        BRIGHTNESS: 12,
        "human.aesthetic": 8,
        "human.semantic": 8,
    }
    human = scores[scores["metric"] == "human.semantic"]
    assert set(human["category"]) == {"first", "second"}, "the categories of the run, not of the study"
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    means = {
        row["model"]: row["mean"]
        for row in results["scores"]
        if row["metric"] == "human.semantic" and row["category"] is None
    }
    assert means["one"] > 0.8
    assert means["one"] + means["two"] == pytest.approx(1)
    assert results["metrics"]["human.semantic"]["study_id"] == "study-1"
    assert "human.semantic" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_study_joins_a_run_that_is_finished(tmp_path: Path, analysed: Path) -> None:
    folder = images(tmp_path / "images")
    run(config(folder, None), tmp_path / "out")
    run(config(folder, analysed), tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert set(results["metrics"]) == {BRIGHTNESS, "human.aesthetic", "human.semantic"}


def test_a_study_of_other_images_and_no_study_are_refused(tmp_path: Path, analysed: Path) -> None:
    folder = images(tmp_path / "images", prefix="other")
    with pytest.raises(UserError, match="the study is of other images"):
        run(config(folder, analysed), tmp_path / "out")
    with pytest.raises(UserError, match="no finished result of `llm4gen-bench study analyse`"):
        run(config(folder, tmp_path), tmp_path / "out2")
    with pytest.raises(UsageError, match="expected --images, not --model"):
        run(config(folder, analysed, images=(), models=("base-mini",)), tmp_path / "out3")
