"""`llm4gen-data build-densprompts` as a user runs it: the full 7,000, and what reads them."""

import json
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from llm4gen_data.densprompts.taxonomy import QUOTAS
from tests.commands import assert_one_line, run, start

COMMAND = ("llm4gen-data", "build-densprompts")


def test_seven_thousand_distinct_prompts_in_their_quotas(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = run(*COMMAND, "--out", out, timeout_s=580)
    assert result.returncode == 0, result.stderr
    # Processor time, about 25 s: the clock on the wall also measures who else is at work.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 90
    assert result.stdout.startswith(f"{out}: 7,000 prompts")
    rows = pq.read_table(out / "prompts.parquet").to_pylist()
    assert len({row["prompt"].lower() for row in rows}) == len({row["prompt_id"] for row in rows}) == 7000
    assert Counter(row["category"] for row in rows) == Counter(QUOTAS)
    assert all(40 <= row["n_words"] <= 140 for row in rows)
    figures = json.loads((out / "manifest.json").read_text())["figures"]
    assert 78 <= figures["words"]["mean"] <= 82
    assert 14 <= figures["words"]["deviation"] <= 18
    assert figures["near_duplicate_share"] == 0
    assert figures["similarity_max"] <= 0.2
    assert figures["distinct_nouns"] >= 900
    again = run(*COMMAND, "--out", out)
    assert "already complete" in again.stdout


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
