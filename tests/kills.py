"""Kill -9 at random moments, and what must be equal afterwards."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def output_bytes(run_directory: Path) -> dict[str, bytes]:
    """What must be equal between equal runs: the rows. Times and attempts are in the manifest only."""
    return {path.name: path.read_bytes() for path in sorted((run_directory / "data").glob("*.parquet"))}


def wait_for_progress(process: "subprocess.Popen[str]", run_directory: Path) -> bool:
    """Wait until this start has written a journal line or a marker; False if it ended before."""
    before = _progress(run_directory)
    while process.poll() is None:
        if _progress(run_directory) != before:
            return True
        time.sleep(0.002)
    return False


def kill_at_a_random_moment(
    process: "subprocess.Popen[str]", run_directory: Path, moment: random.Random, window_s: float = 0.4
) -> bool:
    """Kill -9 the whole session within `window_s` after its first journal line; False if the run ended before."""
    if wait_for_progress(process, run_directory):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment.uniform(0.0, window_s))
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def run_under_kills(
    start: Callable[[], "subprocess.Popen[str]"],
    run_directory: Path,
    n_kills: int,
    moment: random.Random,
    window_s: float = 0.4,
) -> int:
    """Start and kill until killed `n_kills` times or complete; how many kills there were."""
    for kills in range(n_kills):
        process = start()
        if not kill_at_a_random_moment(process, run_directory, moment, window_s):
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            return kills
    return n_kills


def ray_workers(driver: int) -> list[psutil.Process]:
    """The processes of the captioning actors below the process `driver`."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("MapWorker" in part for part in process.cmdline()):
                found.append(process)
    return found


def _progress(run_directory: Path) -> tuple[int, int]:
    """The number of markers and the bytes in journals."""
    size = 0
    for journal in run_directory.glob("shards/*.journal"):
        with contextlib.suppress(FileNotFoundError):
            size += journal.stat().st_size
    return len(list(run_directory.glob("shards/*.json"))), size
