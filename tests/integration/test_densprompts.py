"""`llm4gen-data build-densprompts` as a user runs it: the full 7,000, and what reads them."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4gen_data.densprompts.run import TABLES
from llm4gen_data.densprompts.taxonomy import QUOTAS
from llm4gen_data.densprompts.twins import KINDS
from llm4gen_data.densprompts.versions import CURRENT, VERSIONS
from tests.commands import BIN, assert_one_line, run, start

COMMAND = ("llm4gen-data", "build-densprompts")


def run_on_one_core(*options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a single process, as it is where there is one core."""
    command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), str(BIN / COMMAND[0]), COMMAND[1]]
    return subprocess.run(
        [*command, *map(str, options)], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with defaults, as it is published."""
    out = tmp_path_factory.mktemp("densprompts") / "out"
    result = run_on_one_core("--out", out)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{out}: 7,000 prompts")
    return out


def test_seven_thousand_distinct_prompts_in_their_quotas(full: Path) -> None:
    rows = pq.read_table(full / "prompts.parquet").to_pylist()
    assert len({row["prompt"].lower() for row in rows}) == len({row["prompt_id"] for row in rows}) == 7000
    assert Counter(row["category"] for row in rows) == Counter(QUOTAS)
    assert all(40 <= row["n_words"] <= 140 for row in rows)
    figures = json.loads((full / "manifest.json").read_text())["figures"]
    assert 78 <= figures["words"]["mean"] <= 82
    assert 14 <= figures["words"]["deviation"] <= 18
    assert figures["similarity"]["max"] < 0.2
    assert figures["distinct_nouns"] >= 900
    twins = pq.read_table(full / "twins.parquet").to_pylist()
    assert {twin["kind"] for twin in twins} == set(KINDS)
    assert len({twin["prompt_id"] for twin in twins}) > 6000
    again = run(*COMMAND, "--out", full)
    assert "already complete" in again.stdout


def test_the_build_is_the_published_version(full: Path) -> None:
    """If texts were changed on purpose, the new sum goes into versions.py under a new name."""
    manifest = json.loads((full / "manifest.json").read_text())
    sha256 = manifest["sha256"]["prompts.jsonl"]
    print(f"\nsha256 of prompts.jsonl: {sha256}")
    assert VERSIONS[CURRENT] == sha256
    assert manifest["version"] == CURRENT


def test_neither_cores_nor_hash_seeds_change_a_byte(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert run(*COMMAND, "--n", 220, "--out", one, PYTHONHASHSEED="1").returncode == 0
    assert run_on_one_core("--n", 220, "--out", other, PYTHONHASHSEED="2").returncode == 0
    for name in TABLES:
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_kill_leaves_nothing_half_written_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = start(*COMMAND, "--n", 1500, "--out", out)
    while not (out / "fingerprint.json").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (out / "manifest.json").exists()
    assert not (out / "prompts.parquet").exists()
    assert_one_line(run(*COMMAND, "--n", 50, "--out", out), 1, "n: 1500 -> 50")
    assert run(*COMMAND, "--n", 1500, "--out", out).returncode == 0
    assert pq.read_metadata(out / "prompts.parquet").num_rows == 1500


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert_one_line(run(*COMMAND, "--n", 0, "--out", tmp_path / "out"), 2, "--n")
    assert not (tmp_path / "out").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert_one_line(run(*COMMAND, "--n", 5, "--out", tmp_path / "other"), 1, "no run of llm4gen")
