"""`llm4gen-data recaption` in trouble: killed, starved, served badly. It goes on, or stops in one line and resumes."""

import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.captioners import KILLS_ENGINE, PYTHONPATH, REFUSED
from tests.commands import assert_one_line, run, start
from tests.factories import encode, image_folder, image_parquet, image_tar, picture
from tests.integration.test_endpoint import answer, server
from tests.integration.test_recaption import DUMMY, RECAPTION
from tests.kills import output_bytes, run_under_kills

N_KILLS = 10
COUNTING = ("--captioner", "tests.captioners:Counting")


def statuses(run_directory: Path) -> Counter[str]:
    return Counter(pq.read_table(run_directory / "data", columns=["status"])["status"].to_pylist())


def verified(run_directory: Path) -> str:
    return run("llm4gen-data", "verify", run_directory).stdout


@pytest.fixture
def captioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the counting captioner adds a byte for each picture that it is asked about."""
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("CAPTIONED", str(tmp_path / "captioned"))
    return tmp_path / "captioned"


def test_killed_ten_times_no_row_is_lost_none_twice_and_the_bytes_are_equal(tmp_path: Path, captioned: Path) -> None:
    source = image_parquet(tmp_path / "in.parquet", 3000, punsafe=[i / 3000 for i in range(3000)])
    options = (*RECAPTION, source, *COUNTING, "--set", "shard_rows=250")
    undisturbed = run(*options, "--out", tmp_path / "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    captioned.unlink()
    kills = run_under_kills(
        lambda: start(*options, "--out", tmp_path / "killed", LLM4GEN_DUMMY_DELAY_S="0.1"),
        tmp_path / "killed",
        N_KILLS,
        random.Random(0),
    )
    last = run(*options, "--out", tmp_path / "killed")
    assert last.returncode == 0, last.stderr
    assert kills == N_KILLS
    assert output_bytes(tmp_path / "killed") == output_bytes(tmp_path / "undisturbed")
    assert "3,000 inputs, 3,000 captions + 0 tombstones: whole" in verified(tmp_path / "killed")
    assert not list((tmp_path / "killed" / "shards").glob("*.journal"))
    # a kill costs no more than what was in flight: 4 batches of 8
    again = captioned.stat().st_size - 3000
    print(f"\n{kills} kills: {again} rows captioned again")
    assert again <= N_KILLS * 32


def test_an_engine_that_dies_on_a_row_costs_that_row_only(tmp_path: Path, captioned: Path) -> None:
    source = image_folder(tmp_path / "in", 100)
    for number, size in ((7, KILLS_ENGINE), (8, KILLS_ENGINE), (60, KILLS_ENGINE), (61, REFUSED)):
        (source / f"{number:05d}.png").write_bytes(encode(picture(number, size)))
    result = run(*RECAPTION, source, *COUNTING, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "run" / "data").to_pylist()
    failed = {row["key"]: row["status"] for row in table if row["status"] != "success"}
    poison = dict.fromkeys(("00007.png", "00008.png", "00060.png"), "quarantined")
    assert failed == {**poison, "00061.png": "failed_caption"}
    assert "96 captions + 4 tombstones: whole" in verified(tmp_path / "run")
    captioned.unlink()
    again = run(*RECAPTION, source, *COUNTING, "--out", tmp_path / "run", "--retry-failed", "permanent")
    assert again.returncode == 0, again.stderr
    assert captioned.stat().st_size == 1
    assert statuses(tmp_path / "run") == {"success": 96, "quarantined": 3, "failed_caption": 1}


def test_a_tar_that_cannot_be_read_stops_the_run_and_is_gone_on_with_when_it_can(tmp_path: Path) -> None:
    for number in range(3):
        tar = image_tar(tmp_path / "in" / f"{number:05d}.tar", 20)
        pq.write_table(pa.table({"key": [f"{i:05d}" for i in range(20)]}), tar.with_suffix(".parquet"))
    victim = tmp_path / "in" / "00001.tar"
    whole = victim.read_bytes()
    victim.write_bytes(random.Random(0).randbytes(len(whole)))
    options = (*RECAPTION, tmp_path / "in", *DUMMY, "--set", "shard_rows=20", "--out", tmp_path / "run")
    assert_one_line(run(*options), 1, "00001.tar", "not a readable tar file")
    assert not (tmp_path / "run" / "manifest.json").exists()
    victim.write_bytes(whole)
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert "60 inputs, 60 captions" in verified(tmp_path / "run")


def test_a_server_in_every_kind_of_trouble_leaves_rows_that_can_be_tried_again(tmp_path: Path) -> None:
    """429 and 500 now and then, garbage, 20 slow answers, and from row 30 on nothing but 503 for a while."""
    source = image_folder(tmp_path / "in", 60)
    trouble = {2: (429, b"{}"), 5: (500, b"oops"), 9: (200, b"<html>"), 14: (400, b'{"error": {"message": "no"}}')}
    well = (200, answer("A green square on a plain wall."))

    def bad(n: int) -> tuple[int, bytes]:
        if 20 <= n < 40:
            time.sleep(0.2)
        return (503, b"") if n >= 45 else trouble.get(n, well)

    options = [*RECAPTION, source, "--captioner", "endpoint", "--model", "m", "--out", tmp_path / "run"]
    settings = ["--set", "engine.max_retries=1", "--set", "engine.max_in_flight=4", "--set", "max_failed_share=1"]
    with server(bad) as url:
        result = run(*options, *settings, "--set", f"engine.base_url={url}")
    assert result.returncode == 0, result.stderr
    found = statuses(tmp_path / "run")
    assert found["failed_caption"] == 1
    assert found["failed_transient"] > 5
    assert sum(found.values()) == 60
    with server(lambda n: well) as url:
        result = run(*options, *settings, "--set", f"engine.base_url={url}", "--retry-failed", "transient")
    assert result.returncode == 0, result.stderr
    assert statuses(tmp_path / "run") == {"success": 59, "failed_caption": 1}
    assert "59 captions + 1 tombstones: whole" in verified(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="a small file system needs root")
def test_a_full_disk_stops_with_one_line_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    source = image_parquet(
        tmp_path / "in.parquet", 400, ballast=[random.Random(i).randbytes(20_000) for i in range(400)]
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        options = [source, *DUMMY, "--set", "shard_rows=100", "--out", disk / "run"]
        full = run(*RECAPTION, *options)
        assert_one_line(full, 1, "no space left on the disk", "goes on from here")
        markers = sorted((disk / "run" / "shards").glob("*.json"))
        assert 0 < len(markers) < 4
        for marker in markers:
            start_row, stop_row = json.loads(marker.read_text())["rows"]
            assert pq.ParquetFile(marker.with_suffix(".parquet")).metadata.num_rows == stop_row - start_row
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        assert run(*RECAPTION, *options).returncode == 0
        assert "400 inputs, 400 captions" in verified(disk / "run")
    finally:
        subprocess.run(["umount", disk], check=True)
