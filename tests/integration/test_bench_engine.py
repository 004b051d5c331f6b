"""The engine of `llm4gen-bench run` as users run it: killed, in several processes, with a metric added later."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from llm4gen_data.runs import sha256_file
from llm4gen_data.scenes.render import render
from tests.commands import assert_one_line, run
from tests.hostile import png
from tests.performance.evaluate_interrupts import COMPARED, interrupted, journal_bytes
from tests.unit.benchmarks.factories import prompts_of, scene_manifest, scenes, tiny_head, write_manifest, write_rows

ROOT = Path(__file__).parents[2]
N_IMAGES = 48
NO_NUMBER = "tests.unit.benchmarks.fake_metric:NotANumber"


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


def test_bad_prompts_pictures_and_values_are_rows_and_never_zeros(tmp_path: Path) -> None:
    """A prompt of 2,000 characters with slashes, a PNG bomb, and a metric that gives no number."""
    drawn = scenes(3)
    first, *others = prompts_of(drawn)
    long = replace(first, prompt_id="a/../b", prompt=("../a/b " * 286)[:2000].strip())
    folder = write_manifest(tmp_path / "images", [long, *others], {"m/1": [render(scene) for scene in drawn]})
    rows = pq.read_table(folder / "images.parquet").to_pylist()
    (folder / rows[1]["path"]).write_bytes(png(30_000, 30_000))
    rows[1]["sha256"] = sha256_file(folder / rows[1]["path"])
    write_rows(folder, rows)
    out = tmp_path / "out"
    line = ("llm4gen-bench", "run", "--suite", "scenes", "--images", folder, "--metrics", f"scene_reader,{NO_NUMBER}")
    result = run(*line, "--set", "n_resamples=50", "--out", out, PYTHONPATH=str(ROOT))
    assert_one_line(result, 1, NO_NUMBER, "not one of 3 images has a value", "the metric gave nan, not a number")
    scores = pd.read_parquet(out / "scores.parquet")
    read = scores[(scores["metric"] == "scene_reader") & (scores["kind"] == "overall")].set_index("prompt_id")
    assert read["value"].isna().tolist() == [False, True, False]
    assert "over the limit" in read.loc[rows[1]["prompt_id"], "error_message"]
    assert scores.loc[scores["metric"] == NO_NUMBER, "value"].isna().all()
    assert long.prompt in (out / "report.html").read_text(encoding="utf-8")
    damaged = tmp_path / "damaged"
    shutil.copytree(out, damaged)
    (damaged / "results.json").write_text('{"suite": "scenes", "models"', encoding="utf-8")
    assert_one_line(run("llm4gen-bench", "leaderboard", out, damaged), 1, f"{damaged}/results.json", "JSON")


def test_where_nothing_can_be_written_is_told_before_anything_is_scored(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    under = tmp_path / "file" / "out"
    assert_one_line(run(*line, "--metrics", "scene_reader", "--out", under), 1, f"{under}: cannot be written to")
    calibrate = ("llm4gen-bench", "calibrate", "--metric", "scene_reader", "--out", under / "x.json")
    told = run(*calibrate)
    assert_one_line(told, 1, f"{under}: cannot be written to")
    assert "calibrate:" not in told.stderr  # no progress
    assert (tmp_path / "file").read_text() == "mine"
