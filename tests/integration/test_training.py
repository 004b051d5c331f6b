"""The real `llm4gen-model train` on the bundled base: killed with -9 again and again, it ends in the same bits."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from llm4gen_data.runs import read_json
from tests.commands import assert_one_line, run, start

N_PAIRS, N_STEPS, N_KILLS = 24, 60, 5


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True captions of drawn scenes, in LAION-refined's layout."""
    folder = tmp_path_factory.mktemp("pairs")
    result = run("python", "-m", "pipelines.mini.pairs", "--n", N_PAIRS, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


def arguments(pairs: Path, out: Path, *more: object) -> list[object]:
    settings = ("cam.num_heads=4", "checkpointing_steps=7", "logging_steps=5", "validation_steps=1000")
    sets = [word for setting in (*settings, "num_validation_images=2") for word in ("--set", setting)]
    command = ["llm4gen-model", "train", "--data", pairs, "--out", out, "--train", "cam+unet", "--train-batch-size", 8]
    return [*command, "--max-train-steps", N_STEPS, *sets, *more]


def weights(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "model").rglob("*.safetensors")}


def progress(out: Path) -> int:
    names = [path.stem for path in (out / "checkpoints").glob("[0-9]*.pt")]
    return max(map(int, names), default=0)


def test_five_kills_change_no_bit(pairs: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = run(*arguments(pairs, whole))
    assert result.returncode == 0, result.stderr
    rng = random.Random(5)
    moments = sorted(rng.uniform(0, N_STEPS - 8) for _ in range(N_KILLS))
    for moment in moments:
        process = start(*arguments(pairs, killed))
        end = time.monotonic() + 120
        # to the nearest checkpoint, then a random moment further on
        while progress(killed) < int(moment) // 7 * 7 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    result = run(*arguments(pairs, killed))
    assert result.returncode == 0, result.stderr
    assert weights(killed) == weights(whole)
    assert len(weights(whole)) == 2
    logged = [[json.loads(line)["loss"] for line in (out / "metrics.jsonl").open()] for out in (whole, killed)]
    assert logged[0] == logged[1]
    print(f"killed at {', '.join(f'{moment:.1f}' for moment in moments)} of {N_STEPS} steps: weights equal to the bit")

    again = run(*arguments(pairs, killed))
    assert again.returncode == 0
    assert "complete" in again.stdout
    assert_one_line(run(*arguments(pairs, killed, "--seed", 1)), 1, "seed: 0 -> 1")
    # a checkpoint of another shape, and one with code in it
    last = sorted((killed / "checkpoints").glob("*.pt"))[-1]
    longer = arguments(pairs, killed, "--max-train-steps", N_STEPS + 5)
    torch.save({**torch.load(last, weights_only=True), "modules": {"cam.x": torch.zeros(2)}}, last)
    assert_one_line(run(*longer), 1, last.name, "not a checkpoint of this run")
    torch.save(Path("x"), last)
    assert_one_line(run(*longer), 1, last.name, "not a checkpoint of this run")


def test_a_cache_of_another_encoder_is_refused(pairs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("--data", pairs, "--cache", cache)
    filled = run("llm4gen-model", "cache", *options)
    assert filled.returncode == 0, filled.stderr
    assert f"latents: {N_PAIRS} entries" in filled.stdout
    assert_one_line(
        run("llm4gen-model", "cache", *options, "--set", "llm.max_tokens=64"), 1, "features of another encoder"
    )


def test_a_decoder_language_model_trains_and_draws(pairs: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    home: dict[str, Any] = {"HF_HOME": str(tmp_path / "home")}
    prompts.write_text("a small red circle\na large blue star\n")
    options = (
        "--train-batch-size",
        4,
        "--max-train-steps",
        3,
        "--set",
        "cam.num_heads=4",
        "--set",
        "llm.max_tokens=48",
    )
    out = tmp_path / "cam-smollm2"
    result = run("llm4gen-model", "train", "--data", pairs, "--out", out, "--llm", "smollm2", *options, **home)
    assert result.returncode == 0, result.stderr
    assert read_json(out / "model" / "llm4gen.json")["llm"]["name"] == "smollm2"
    models = ("--model", "mini", "--model", out / "model")
    drawn = run(
        *("llm4gen-model", "generate", *models, "--prompts", prompts, "--steps", 3, "--out", tmp_path / "pictures"),
        **home,
    )
    assert drawn.returncode == 0, drawn.stderr
    rows = pq.read_table(tmp_path / "pictures" / "images.parquet").to_pylist()
    assert [(row["model"], row["prompt"]) for row in rows].count(("cam-smollm2", "a large blue star")) == 1
    assert len({row["sha256"] for row in rows}) == 4


def test_wrong_use_is_one_clear_line(pairs: Path, tmp_path: Path) -> None:
    train = ("llm4gen-model", "train", "--out", tmp_path / "out")
    assert_one_line(run(*train), 2, "data")
    assert_one_line(run(*train, "--data", tmp_path / "nowhere"), 1, "nowhere")
    assert_one_line(run(*train, "--data", pairs, "--set", "caption=1"), 2, "unknown key caption", "captions")
    assert_one_line(run(*train, "--data", pairs, "--base", "sd3"), 1, "sd3")
    assert_one_line(run(*train, "--data", pairs, "--llm", "gpt-5", HF_HUB_OFFLINE="1"), 1, "gpt-5", "no such folder")
    assert not (tmp_path / "out").exists()
    dry = run(*train, "--data", pairs, "--dry-run")
    assert dry.returncode == 0
    assert "learning_rate: 0.0001" in dry.stdout


def test_prompts_and_models_that_cannot_be_used(tmp_path: Path) -> None:
    generate = ("llm4gen-model", "generate", "--out", tmp_path / "out", "--model", "mini")
    empty, long = tmp_path / "empty.txt", tmp_path / "long.txt"
    empty.write_text("\n")
    long.write_text("red " * 2000)
    assert_one_line(run(*generate, "--prompts", empty), 1, "empty.txt", "no prompts")
    assert_one_line(run(*generate, "--prompts", long), 1, "2,000 words")
    assert_one_line(run(*generate, "--prompts", tmp_path / "none.txt"), 1, "none.txt")
    model = tmp_path / "model"
    (model / "cam").mkdir(parents=True)
    good = read_json(Path(__file__).parents[2] / "llm4gen_model" / "bundled" / "cam-mini" / "llm4gen.json")
    (model / "llm4gen.json").write_text(json.dumps(good))
    (model / "cam" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")
    long.write_text("a red circle")
    broken = run("llm4gen-model", "generate", "--out", tmp_path / "out", "--model", model, "--prompts", long)
    assert_one_line(broken, 1, str(model))
