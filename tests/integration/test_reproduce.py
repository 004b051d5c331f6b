"""`python -m pipelines.reproduce`, smaller: two arms from data to tables, stopped once with Ctrl-C on the way."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from pipelines.reproduce.__main__ import reproduce
from pipelines.reproduce.report import write_report
from tests.commands import BIN, heed_ctrl_c, run

MICRO = {
    "title": "Two arms",
    "pairs": {"n": 32},
    "train": {
        "train_batch_size": 4,
        "max_train_steps": 6,
        "captions": {"caption": 1.0},
        "cam": {"num_heads": 4},
        "checkpointing_steps": 1,
        "logging_steps": 2,
        "num_validation_images": 1,
        "num_inference_steps": 1,
    },
    "arms": {
        "c": {"title": "the control", "train": {"train": "unet"}},
        "o": {"title": "the oracle", "train": {"train": "cam+unet", "llm": {"name": "scene-graph"}}, "seeds": 2},
    },
    "sweep": {"learning_rates": [1e-3], "guidance_scales": [4.0], "n_prompts": 5},
    "n_prompts": 10,
    "num_inference_steps": 2,
    "primary": {"least": 0.9},  # out of reach of six steps
    "claim": {"arms": ["o"], "rivals": ["c"], "control": "c", "oracle": "o"},
    "comparisons": [["o", "c"]],
    "probes": {"encoders": ["text:mini"], "n_scenes": 30, "n_twins": 5},
    "n_resamples": 500,
    "threads": 1,
}


def test_an_experiment_goes_on_after_ctrl_c_and_ends_in_tables(tmp_path: Path) -> None:
    preset, out = tmp_path / "micro.yaml", tmp_path / "out"
    preset.write_text(yaml.safe_dump(MICRO))
    line = ("python", "-m", "pipelines.reproduce", "--preset", preset, "--out", out)
    process = subprocess.Popen(
        [str(BIN / "python"), *map(str, line[1:])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    end = time.monotonic() + 120
    while not any(out.glob("train/*/checkpoints/*.json")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "The same command again goes on from here" in output
    assert not (out / "manifest.json").exists()

    result = run(*line)
    assert result.returncode == 0, result.stderr
    assert "data/pairs begins" not in result.stdout  # done before
    assert " left] " in result.stdout
    results = read_json(out / "results" / "results.json")
    assert [row["arm"] for row in results["arms"]] == ["c", "o"]
    assert {row["n_seeds"] for row in results["arms"]} == {1, 2}
    assert results["comparisons"][0]["n_prompts"] == 8  # of 3 and 4 objects
    assert read_json(out / "choices.json")["primary_kind"] == "bound"
    text = (out / "results" / "results.md").read_text()
    assert "At the floor" in text

    # tables and figure once more, from what is kept
    again = tmp_path / "again"
    write_report(out / "record", again)
    for name in ("results.json", "results.md", "results.png", "examples.png"):
        assert (again / name).read_bytes() == (out / "results" / name).read_bytes(), name

    # the same of two parts that ran apart, one without a sweep
    choice = ("--set", f"arms.o.choice={json.dumps(read_json(out / 'choices.json')['choices']['o'])}")
    records: list[object] = []
    for arm, more in (("c", ()), ("o", choice)):
        part = tmp_path / arm
        given = ("--set", f"only=[{arm}]", "--set", "probes.encoders=[]", *more, "--out", part)
        result = run("python", "-m", "pipelines.reproduce", "--preset", preset, *given)
        assert result.returncode == 0, result.stderr
        records += ["--record", part / "record"]
    whole = tmp_path / "whole"
    result = run("python", "-m", "pipelines.reproduce", *records, "--out", whole)
    assert result.returncode == 0, result.stderr
    merged = read_json(whole / "results.json")
    for key in ("primary", "arms", "comparisons", "claim", "by_category"):
        assert merged[key] == results[key], key

    with pytest.raises(UserError, match="n_prompts: 10 -> 20"):
        reproduce.main([*map(str, line[3:]), "--set", "n_prompts=20"], standalone_mode=False)
