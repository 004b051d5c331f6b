"""`llm4gen-bench run` as users run it: from a folder of images to a report, killed in the middle, given bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4gen_data.runs import sha256_file
from tests.commands import assert_one_line, run, start
from tests.unit.benchmarks.factories import scene_manifest, tiny_clip, write_rows

N_PROMPTS = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene_manifest(tmp_path_factory.mktemp("images") / "both", N_PROMPTS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def test_true_pictures_win_and_everything_is_there(images: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("llm4gen-bench", "run", "--suite", "scenes", "--images", images, "--set", f"clip_score.model={clip}")
    result = run(*line, "--out", out)
    assert result.returncode == 0, result.stderr
    print("\n" + result.stdout)
    for name in ("scores.parquet", "results.json", "report.html", "manifest.json", "config.yaml"):
        assert (out / name).is_file(), name
    assert f"report: {out / 'report.html'}" in result.stdout
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    means = {
        (row["model"], row["kind"]): row["mean"]
        for row in results["scores"]
        if row["metric"] == "scene_reader" and row["category"] is None
    }
    for kind in ("object", "color", "texture", "size", "relation", "count", "background", "overall"):
        assert means["true", kind] > 0.95, kind
        assert means["shifted", kind] < 0.7, kind
    overall = next(row for row in results["comparisons"] if row["kind"] == "overall" and row["category"] is None)
    assert overall["high"] < 0
    assert overall["p_value"] < 0.05
    again = run(*line, "--out", out)
    assert again.returncode == 0
    assert "score:" not in again.stderr  # finished: nothing is scored twice


def test_killed_runs_go_on_and_end_as_one_that_was_not(images: Path, tmp_path: Path) -> None:
    options = ("--suite", "scenes", "--metrics", "scene_reader", "--set", "batch_size=2", "--images", images)
    line = ("llm4gen-bench", "run", *options, "--out")
    assert run(*line, tmp_path / "whole").returncode == 0
    out = tmp_path / "out"
    n_killed = 0
    for n_batches in (1, 4):
        process = start(*line, out)
        while process.poll() is None:
            journals = list(out.glob("scores-*.jsonl"))
            if journals and journals[0].read_bytes().count(b"\n") >= 2 * n_batches:
                os.killpg(process.pid, signal.SIGKILL)
                n_killed += 1
                break
            time.sleep(0.02)
        process.communicate()
    assert n_killed == 2
    assert not (out / "manifest.json").exists()
    result = run(*line, out)
    assert result.returncode == 0, result.stderr
    for name in ("scores.parquet", "results.json", "report.html", "tables/scores.csv", "tables/comparison.csv"):
        assert sha256_file(out / name) == sha256_file(tmp_path / "whole" / name), name


def test_bad_input_is_one_line(images: Path, tmp_path: Path) -> None:
    line = ("llm4gen-bench", "run", "--out", tmp_path / "out")
    assert_one_line(run(*line, "--suite", "scenes"), 2, "expected either --images DIR")
    assert_one_line(run(*line, "--suite", "scene", "--images", images), 2, "did you mean 'scenes'")
    assert_one_line(run(*line, "--images", images), 2, "expected --suite NAME: own, scenes, densprompts")
    assert_one_line(run(*line, "--suite", "scenes", "--images", images, "--metrics", "clip"), 2, "clip_score")
    assert_one_line(run(*line, "--suite", "scenes", "--images", tmp_path), 1, "images.parquet", "no such file")
    hostile = scene_manifest(tmp_path / "hostile", 2)
    rows = pq.read_table(hostile / "images.parquet").to_pylist()
    write_rows(hostile, [*rows[1:], rows[0] | {"path": "../../etc/passwd"}])
    assert_one_line(run(*line, "--suite", "scenes", "--images", hostile), 1, "../../etc/passwd", "leaves the folder")
    write_rows(hostile, rows)
    (hostile / rows[2]["path"]).unlink()
    assert_one_line(run(*line, "--suite", "scenes", "--images", hostile), 1, rows[2]["path"], "no such image")
    assert not (tmp_path / "out").exists()


def test_dry_run_prints_what_would_be_done(images: Path, tmp_path: Path) -> None:
    line = ("llm4gen-bench", "run", "--suite", "densprompts", "--images", images, "--out", tmp_path / "out")
    result = run(*line, "--metrics", "clip_score", "--set", "clip_score.dtype=bfloat16", "--dry-run")
    assert result.returncode == 0
    assert "dtype: bfloat16" in result.stdout
    assert not (tmp_path / "out").exists()


def test_scoring_images_imports_nothing_of_the_diffusion_side(images: Path, tmp_path: Path) -> None:
    arguments = ["run", "--suite", "scenes", "--metrics", "scene_reader", "--images", str(images)]
    program = f"""
import sys
from benchmarks.cli import commands
commands({[*arguments, "--out", str(tmp_path / "out")]!r}, standalone_mode=False)
print("heavy:", sorted({{"torch", "transformers", "diffusers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
