"""The engine of `llm4gen-bench run` as users run it: killed, in several processes, with a metric added later."""

import json
from pathlib import Path

import pandas as pd
import pytest

from llm4gen_data.runs import sha256_file
from tests.commands import assert_one_line, run
from tests.performance.evaluate_interrupts import COMPARED, interrupted, journal_bytes
from tests.unit.benchmarks.factories import scene_manifest, tiny_head

N_IMAGES = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene_manifest(tmp_path_factory.mktemp("images") / "both", N_IMAGES // 2)


@pytest.fixture(scope="module")
def line(images: Path) -> tuple[object, ...]:
    model = ("--set", "clip_score.model=clip-mini", "--set", "batch_size=4", "--set", "n_resamples=500")
    return ("llm4gen-bench", "run", "--suite", "scenes", "--images", images, *model)


@pytest.fixture(scope="module")
def whole(line: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    result = run(*line, "--metrics", "clip_score,scene_reader", "--out", out)
    assert result.returncode == 0, result.stderr
    return out


def test_killed_and_gone_on_is_as_if_nothing_had_been(line: tuple[object, ...], whole: Path, tmp_path: Path) -> None:
    killed = (*line, "--metrics", "clip_score,scene_reader", "--out")
    assert len(interrupted(killed, tmp_path / "out", journal_bytes(whole), 2)) == 2
    for name in COMPARED:
        assert sha256_file(whole / name) == sha256_file(tmp_path / "out" / name), name


def test_two_processes_give_what_one_gives(line: tuple[object, ...], whole: Path, tmp_path: Path) -> None:
    result = run(*line, "--metrics", "clip_score,scene_reader", "--set", "processes=2", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    one, two = (pd.read_parquet(out / "scores.parquet") for out in (whole, tmp_path / "out"))
    assert two.drop(columns="value").equals(one.drop(columns="value"))
    assert (two["value"] - one["value"]).abs().max() < 1e-4  # of 100; the number of threads moves the last bits


def test_a_metric_joins_a_finished_run(line: tuple[object, ...], whole: Path, tmp_path: Path) -> None:
    head = tiny_head(tmp_path / "head.pth", 64)
    before = pd.read_parquet(whole / "scores.parquet")
    added = ("--set", f"aesthetic.head={head}", "--set", "aesthetic.model=clip-mini", "--out", whole)
    result = run(*line, "--metrics", "clip_score,scene_reader,aesthetic", *added)
    assert result.returncode == 0, result.stderr
    after = pd.read_parquet(whole / "scores.parquet")
    assert after[after["metric"] != "aesthetic"].reset_index(drop=True).equals(before)
    assert after.loc[after["metric"] == "aesthetic", "value"].notna().sum() == N_IMAGES
    identity = json.loads((whole / "results.json").read_text(encoding="utf-8"))["metrics"]["aesthetic"]
    assert identity["head_sha256"] == sha256_file(head)


def test_missing_weights_are_one_line(line: tuple[object, ...], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert_one_line(
        run(*line, "--metrics", "aesthetic", *out), 1, "sac+logos+ava1-l14", "https://github", "sha256 21dd"
    )
    assert_one_line(run(*line, "--metrics", "hps", *out), 1, "HPS_v2.1_compressed.pt", "https://huggingface.co/xswu")
    assert_one_line(run(*line, "--set", "processes=0", *out), 2, "processes = 0: expected at least 1")
    assert not (tmp_path / "out").exists()
