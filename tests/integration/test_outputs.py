"""`regate` and `release` as a user runs them, and a regate that is killed."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import assert_one_line, run, start
from tests.factories import image_parquet

DATA = "llm4gen-data"
N_ROWS = 300


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    source = image_parquet(folder / "images.parquet", N_ROWS)
    result = run(DATA, "recaption", source, "--captioner", "dummy", "--out", folder / "run", "--set", "shard_rows=10")
    assert result.returncode == 0, result.stderr
    return folder / "run"


def data_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def test_regate_there_and_back_gives_the_first_bytes(finished: Path) -> None:
    before = data_of(finished)
    told = run(DATA, "regate", finished, "--set", "gates.min_words=40", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert f"{N_ROWS} ->            0" in told.stdout
    assert data_of(finished) == before
    for words, kept in ((40, 0), (3, N_ROWS)):
        result = run(DATA, "regate", finished, "--set", f"gates.min_words={words}")
        assert result.returncode == 0, result.stderr
        assert json.loads((finished / "manifest.json").read_text())["kept"] == kept
        assert run(DATA, "verify", finished).returncode == 0
    assert data_of(finished) == before


def test_a_regate_killed_at_random_moments_ends_right(finished: Path) -> None:
    before = data_of(finished)
    moment = random.Random(0)
    regate = (DATA, "regate", finished, "--set", "gates.min_words=40")
    for _ in range(3):
        process = start(*regate)
        while process.poll() is None and (finished / "manifest.json").exists():
            time.sleep(0.002)
        time.sleep(moment.uniform(0.0, 0.15))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert run(*regate).returncode == 0
    assert set(pq.read_table(finished / "data")["keep"].to_pylist()) == {False}
    assert run(DATA, "verify", finished).returncode == 0
    assert run(DATA, "regate", finished, "--set", "gates.min_words=3").returncode == 0
    assert data_of(finished) == before


def test_mistakes_are_told_in_one_line(finished: Path, tmp_path: Path) -> None:
    assert_one_line(run(DATA, "regate", tmp_path), 1, "is not a run")
    assert_one_line(run(DATA, "regate", finished, "--set", "gates.min_word=4"), 2, "min_words")
    assert_one_line(run(DATA, "regate", finished, "--set", "shard_rows=4"), 2, "shard_rows")
    assert_one_line(run(DATA, "regate", finished, "--set", "gates.language=klingon"), 1, "klingon")
    assert_one_line(run(DATA, "release", tmp_path, "--out", tmp_path / "out"), 1, "not complete")
    assert run(DATA, "verify", finished).returncode == 0


def test_release(finished: Path, tmp_path: Path) -> None:
    for form in ("captions", "images", "webdataset"):
        result = run(DATA, "release", finished, "--out", tmp_path / form, "--form", form)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / form / "README.md").read_text().startswith("---\nconfigs:")
    assert "image" not in pq.read_schema(tmp_path / "captions" / "data" / "train-00000-of-00001.parquet").names
    refused = run(
        DATA, "release", finished, "--out", tmp_path / "captions", "--push-to-hub", "a/b/c", HF_HUB_OFFLINE="1"
    )
    assert_one_line(refused, 1, "cannot be pushed")
