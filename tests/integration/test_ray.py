"""`recaption --runner ray` on a local cluster of two workers: the same bytes, whatever becomes of a worker."""

import os
import random
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.captioners import KILLS_PROCESS, PYTHONPATH, REFUSED
from tests.commands import assert_one_line, run, start
from tests.factories import encode, image_folder, picture
from tests.kills import output_bytes, ray_workers, wait_for_progress

pytest.importorskip("ray")
RECAPTION = ("llm4gen-data", "recaption")
COUNTING = ("--captioner", "tests.captioners:Counting", "--set", "shard_rows=40")
RAY = ("--runner", "ray", "--n-workers", "2")


def test_two_runners_give_equal_bytes_even_if_a_worker_is_killed(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 1000)
    (source / "00911.png").write_bytes(b"no picture")
    (source / "00912.png").write_bytes(encode(picture(912, REFUSED)))
    local = run(*RECAPTION, source, *COUNTING, "--out", tmp_path / "local", PYTHONPATH=PYTHONPATH)
    assert local.returncode == 0, local.stderr
    environment = {
        "PYTHONPATH": PYTHONPATH,
        "LLM4GEN_DUMMY_DELAY_S": "0.3",
        "CAPTIONED": str(tmp_path / "captioned"),
        "HOME": str(tmp_path / "home"),
    }
    process = start(*RECAPTION, source, *COUNTING, *RAY, "--out", tmp_path / "ray", **environment)
    assert wait_for_progress(process, tmp_path / "ray")
    time.sleep(0.5)
    workers = ray_workers(process.pid)
    assert len(workers) == 2
    os.kill(random.Random(0).choice(workers).pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "failed_caption=1" in errors
    assert output_bytes(tmp_path / "ray") == output_bytes(tmp_path / "local")
    assert "998 captions + 2 tombstones: whole" in run("llm4gen-data", "verify", tmp_path / "ray").stdout
    assert not (tmp_path / "home").exists()
    # the lost worker had 4 batches of 8 in flight
    assert (tmp_path / "captioned").stat().st_size - 999 <= 32


def test_what_stops_a_worker_stops_the_run_in_one_line(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 40)
    options = (*RECAPTION, source, *RAY, "--out", tmp_path / "run", "--captioner", "endpoint", "--model", "m")
    result = run(*options, "--set", "engine.base_url=http://127.0.0.1:9/v1", "--set", "engine.max_retries=0")
    assert_one_line(result, 1, "http://127.0.0.1:9/v1", "goes on from here")
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_row_that_takes_its_worker_down_each_time_does_not_do_so_for_ever(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 80)
    (source / "00050.png").write_bytes(encode(picture(50, KILLS_PROCESS)))
    result = run(*RECAPTION, source, *COUNTING, *RAY, "--out", tmp_path / "run", PYTHONPATH=PYTHONPATH)
    assert_one_line(result, 1, "Ray gave up", "goes on from here")


@pytest.mark.slow
def test_vllm_in_two_workers_goes_on_without_one(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    assert run("llm4gen-data", "scenes", "--n", 160, "--out", tmp_path / "scenes").returncode == 0
    process = start(*RECAPTION, tmp_path / "scenes", *RAY, "--set", "shard_rows=10", "--out", tmp_path / "run")
    assert wait_for_progress(process, tmp_path / "run")
    os.kill(ray_workers(process.pid)[0].pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "160 inputs, 160 captions" in run("llm4gen-data", "verify", tmp_path / "run").stdout
    assert min(pq.read_table(tmp_path / "run" / "data")["n_words"].to_pylist()) > 10
