"""`llm4gen-data recaption` as a user runs it, with the dummy captioner; what goes wrong is in test_faults."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import BIN, assert_one_line, run, start
from tests.factories import encode, image_folder, image_parquet, picture
from tests.kills import output_bytes
from tests.unit.llm4gen_data.recaption.test_prepare import png_header

RECAPTION = ("llm4gen-data", "recaption")
DUMMY = ("--captioner", "dummy")


def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 200)
    options = [str(source), *DUMMY, "--set", "shard_rows=40", "--out", str(tmp_path / "run")]
    process = start(*RECAPTION, *options, LLM4GEN_DUMMY_DELAY_S="0.5")
    while not list((tmp_path / "run").glob("shards/*.journal")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Interrupted. The same command again goes on from here." in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert run(*RECAPTION, *options).returncode == 0
    assert "whole" in run("llm4gen-data", "verify", tmp_path / "run").stdout


def test_equal_runs_give_equal_bytes_whatever_the_batching(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 90)
    for name, in_flight in (("a", 1), ("b", 7)):
        result = run(
            *RECAPTION, source, *DUMMY, "--set", f"engine.max_in_flight={in_flight}", "--out", tmp_path / name
        )
        assert result.returncode == 0, result.stderr
    assert output_bytes(tmp_path / "a") == output_bytes(tmp_path / "b")


def test_datasets_pandas_and_recaption_itself_read_the_result(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    source = image_parquet(tmp_path / "in.parquet", 25, similarity=[0.3] * 25, tags=[["a", "b"]] * 25)
    assert run(*RECAPTION, source, *DUMMY, "--set", "shard_rows=10", "--out", tmp_path / "run").returncode == 0
    rows = datasets.load_dataset(str(tmp_path / "run"), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.num_rows == 25
    assert rows[7]["image"].size == picture(7).size
    assert rows[7]["similarity"] == pytest.approx(0.3)
    assert rows[7]["tags"] == ["a", "b"]
    again = datasets.load_dataset("parquet", data_dir=str(tmp_path / "run/data"), cache_dir=str(tmp_path / "cache"))
    assert again["train"].features["image"].__class__.__name__ == "Image"
    pd = pytest.importorskip("pandas")
    assert pd.read_parquet(tmp_path / "run" / "data").alt_text.tolist() == [f"picture {i}" for i in range(25)]
    assert run(*RECAPTION, tmp_path / "run", *DUMMY, "--instruction", "short", "--out", tmp_path / "b").returncode == 0


def test_bad_images_become_rows_with_a_reason(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 40)
    (source / "00003.png").write_bytes(encode(picture(3))[:70])
    (source / "00007.png").write_bytes(png_header(60_000, 60_000))
    (source / "00011.png").write_bytes(b"")
    result = run(*RECAPTION, source, *DUMMY, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "run" / "data").to_pylist()
    failed = {row["key"]: row["error_message"] for row in table if row["status"] == "failed_image"}
    assert set(failed) == {"00003.png", "00007.png", "00011.png"}
    assert "over the limit" in failed["00007.png"]
    assert all(row["caption"] is None and not row["keep"] for row in table if row["key"] in failed)
    assert "37 captions + 3 tombstones: whole" in run("llm4gen-data", "verify", tmp_path / "run").stdout


@pytest.mark.parametrize(
    ("data", "reason"), [(encode(picture(1))[:90], "damaged image"), (png_header(60_000, 60_000), "over the limit")]
)
def test_a_run_whose_images_all_fail_ends_with_one_line_and_code_1(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(data)
    result = run(*RECAPTION, tmp_path / "in", *DUMMY, "--out", tmp_path / "run")
    assert_one_line(result, 1, "1 of 1 images have no caption", reason)
    assert pq.read_table(tmp_path / "run" / "data")["status"].to_pylist() == ["failed_image"]


def test_bad_arguments_leave_nothing_behind(tmp_path: Path) -> None:
    good = image_folder(tmp_path / "in", 3)
    pq.write_table(pa.table({"picture": [b"x"]}), tmp_path / "column.parquet")
    (tmp_path / "not.parquet").write_text("hello")
    (tmp_path / "bad.yaml").write_text("smapling: {}\n")
    cases = [
        ((tmp_path / "column.parquet",), 1, ("column.parquet", "missing column with image bytes", "picture")),
        ((tmp_path / "not.parquet",), 1, ("not.parquet", "not a Parquet file")),
        ((tmp_path / "nowhere",), 1, ("nowhere", "no such file or folder")),
        ((good, "--set", "sampling.max_tokenz=3"), 2, ("sampling.max_tokenz", "did you mean sampling.max_tokens")),
        ((good, "--set", "sampling.max_tokens=many"), 2, ("sampling.max_tokens", "'many'")),
        ((good, "--set", "shard_rows=0"), 2, ("shard_rows = 0",)),
        ((good, "--config", tmp_path / "bad.yaml"), 2, ("bad.yaml", "unknown key smapling", "did you mean sampling")),
        ((good, "--instruction", "lyrical"), 2, ("'lyrical' is unknown", "dense")),
        ((good, "--captioner", "vlm"), 2, ("captioner 'vlm' is unknown", "did you mean 'vllm'")),
        ((good, "--captioner", "transformers", "--model", "vlm-maxi"), 1, ("model 'vlm-maxi' is unknown",)),
        ((good, "--captioner", "endpoint"), 1, ("engine.base_url",)),
    ]
    for arguments, code, words in cases:
        options = arguments if "--captioner" in arguments else (*arguments, *DUMMY)
        assert_one_line(run(*RECAPTION, *options, "--out", tmp_path / "run"), code, *words)
        assert not (tmp_path / "run" / "manifest.json").exists()
        assert not list((tmp_path / "run").glob("shards/*"))


def test_a_changed_configuration_is_refused_with_a_diff(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 5)
    assert run(*RECAPTION, source, *DUMMY, "--out", tmp_path / "run").returncode == 0
    before = output_bytes(tmp_path / "run")
    changed = run(*RECAPTION, source, *DUMMY, "--instruction", "short", "--out", tmp_path / "run")
    assert_one_line(changed, 1, "instruction", "Describe this image briefly.")
    (source / "00009.png").write_bytes(encode(picture(9)))
    assert_one_line(run(*RECAPTION, source, *DUMMY, "--out", tmp_path / "run"), 1, "source.n_rows: 5 -> 6")
    assert output_bytes(tmp_path / "run") == before


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 30)
    assert run(*RECAPTION, source, *DUMMY, "--set", "shard_rows=10", "--out", tmp_path / "run").returncode == 0
    victim = tmp_path / "run" / "data" / "train-00001-of-00003.parquet"
    whole = victim.read_bytes()
    table = pq.read_table(victim)
    victim.unlink()
    missing = run("llm4gen-data", "verify", tmp_path / "run")
    assert_one_line(missing, 1, "not whole", "20 captions")
    assert "train-00001-of-00003.parquet: missing" in missing.stderr
    pq.write_table(table.slice(1), victim)
    assert "bytes are not those that were committed" in run("llm4gen-data", "verify", tmp_path / "run").stderr
    victim.write_bytes(whole)
    assert run("llm4gen-data", "verify", tmp_path / "run").returncode == 0
    (source / "00004.png").unlink()
    assert "its files changed" in run("llm4gen-data", "verify", tmp_path / "run").stderr
    (tmp_path / "run" / "manifest.json").unlink()
    assert_one_line(run("llm4gen-data", "verify", tmp_path / "run"), 1, "not complete")


def test_dry_run_prints_the_configuration_and_touches_nothing(tmp_path: Path) -> None:
    result = run(*RECAPTION, "somewhere", "--set", "sampling.max_tokens=7", "--dry-run", "--out", tmp_path / "run")
    assert result.returncode == 0
    assert "max_tokens: 7" in result.stdout
    assert not (tmp_path / "run").exists()


def test_processes_side_by_side_do_a_run_together_as_slurm_would_have_it(tmp_path: Path) -> None:
    """The script of docs/slurm.md, three tasks of its array at once, against one process that does it all."""
    source = image_parquet(tmp_path / "in.parquet", 95)
    (tmp_path / "config.yaml").write_text("captioner: dummy\nshard_rows: 10\n")
    pages = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text()
    script = tmp_path / "recaption.sbatch"
    script.write_text(re.findall(r"```bash\n(#!/bin/bash\n.*?)```", pages, re.DOTALL)[0])
    given = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "SOURCE": str(source),
        "OUT": str(tmp_path / "run"),
        "CONFIG": str(tmp_path / "config.yaml"),
        "N_ROWS": "95",
        "SHARD_ROWS": "10",
        "SLURM_ARRAY_TASK_COUNT": "3",
        "SLURM_ARRAY_TASK_MIN": "0",
        "LLM4GEN_DUMMY_DELAY_S": "0.1",
    }
    tasks = [
        subprocess.Popen(
            ["bash", script],
            env={**os.environ, **given, "SLURM_ARRAY_TASK_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(3)
    ]
    told = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0, 0], told
    alone = run(*RECAPTION, source, "--config", tmp_path / "config.yaml", "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    assert output_bytes(tmp_path / "run") == output_bytes(tmp_path / "alone")
    assert "95 inputs, 95 captions" in run("llm4gen-data", "verify", tmp_path / "run").stdout


def test_a_part_of_the_rows_is_done_and_verify_names_what_is_missing(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 30)
    options = (*RECAPTION, source, *DUMMY, "--set", "shard_rows=10", "--out", tmp_path / "run")
    part = run(*options, "--rows", "10:20")
    assert part.returncode == 0, part.stderr
    assert "1 of 3 shards done" in part.stdout
    assert_one_line(run("llm4gen-data", "verify", tmp_path / "run"), 1, "2 of 3 shards are missing: rows 0:10, 20:30")
    assert_one_line(run(*options, "--rows", "11:20"), 2, "no shard of the run begins there")
    assert run(*options).returncode == 0
    assert "30 inputs, 30 captions" in run("llm4gen-data", "verify", tmp_path / "run").stdout
