"""The real `llm4gen-model train` on the bundled base: killed with -9 again and again, it ends in the same bits."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from llm4gen_data.runs import read_json, sha256_file
from tests.commands import assert_one_line, run, start

N_PAIRS, N_STEPS, N_KILLS = 24, 60, 3  # tests.performance.train_kills kills more often


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True captions of drawn scenes, in LAION-refined's layout."""
    folder = tmp_path_factory.mktemp("pairs")
    result = run("python", "-m", "pipelines.mini.pairs", "--n", N_PAIRS, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


def arguments(pairs: Path, out: Path, *more: object) -> list[object]:
    settings = ("cam.num_heads=4", "checkpointing_steps=7", "logging_steps=5", "validation_steps=1000", "threads=1")
    sets = [word for setting in (*settings, "num_validation_images=2") for word in ("--set", setting)]
    command = ["llm4gen-model", "train", "--data", pairs, "--out", out, "--train", "cam+unet", "--train-batch-size", 8]
    return [*command, "--max-train-steps", N_STEPS, *sets, *more]


def weights(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "model").rglob("*.safetensors")}


def progress(out: Path) -> int:
    names = [path.stem for path in (out / "checkpoints").glob("[0-9]*.json")]
    return max(map(int, names), default=0)


def kill_and_resume(pairs: Path, folder: Path, n_kills: int) -> tuple[Path, Path, list[float]]:
    """An undisturbed run, one killed with -9 at so many random moments and then finished, and those moments."""
    whole, killed = folder / "whole", folder / "killed"
    result = run(*arguments(pairs, whole))
    assert result.returncode == 0, result.stderr
    rng = random.Random(n_kills)
    moments = sorted(rng.uniform(0, N_STEPS - 8) for _ in range(n_kills))
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
    return whole, killed, moments


def test_kills_change_no_bit(pairs: Path, tmp_path: Path) -> None:
    whole, killed, moments = kill_and_resume(pairs, tmp_path, N_KILLS)
    assert weights(killed) == weights(whole)
    assert len(weights(whole)) == 2
    logged = [[json.loads(line)["loss"] for line in (out / "metrics.jsonl").open()] for out in (whole, killed)]
    assert logged[0] == logged[1]
    print(f"killed at {', '.join(f'{moment:.1f}' for moment in moments)} of {N_STEPS} steps: weights equal to the bit")

    again = run(*arguments(pairs, killed))
    assert again.returncode == 0
    assert "complete" in again.stdout
    assert_one_line(run(*arguments(pairs, killed, "--seed", 1)), 1, "seed: 0 -> 1")
    # a damaged checkpoint is put aside; one with code in it or of another shape is refused, even if its hash is right
    last = sorted((killed / "checkpoints").glob("*.pt"))[-1]
    last.write_bytes(last.read_bytes()[:9999])
    longer = arguments(pairs, killed, "--max-train-steps", N_STEPS + 5)
    result = run(*longer)
    assert result.returncode == 0, result.stderr
    assert f"{last.name}: damaged" in result.stderr
    assert "going on from the one before it" in result.stderr
    assert last.with_suffix(".damaged").is_file()
    last = sorted((killed / "checkpoints").glob("*.pt"))[-1]
    longer = arguments(pairs, killed, "--max-train-steps", N_STEPS + 6)
    for content in ({**torch.load(last, weights_only=True), "weights": {"cam.x": torch.zeros(2)}}, Path("x")):
        torch.save(content, last)
        last.with_suffix(".json").write_text(json.dumps({"step": N_STEPS, "sha256": sha256_file(last)}))
        assert_one_line(run(*longer), 1, last.name, "not a checkpoint of this run")


def launch(n_processes: int, *command: object) -> list[object]:
    """The command in so many processes, as torchrun and `accelerate launch` start them."""
    torchrun = ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", n_processes)
    return [*torchrun, "--no-python", Path(sys.executable).parent / str(command[0]), *command[1:]]


def test_two_processes_take_the_same_steps_as_one(pairs: Path, tmp_path: Path) -> None:
    """Per step: the same loss to 1e-5 for the same global batch, also in pieces; the same weights to rounding."""
    settings = ("--max-train-steps", 12, "--set", "logging_steps=1")
    outs = {name: tmp_path / name for name in ("one", "two", "pieces")}
    one = run(*arguments(pairs, outs["one"], *settings))
    assert one.returncode == 0, one.stderr
    two = run(*launch(2, *arguments(pairs, outs["two"], *settings)), OMP_NUM_THREADS="1")
    assert two.returncode == 0, two.stderr
    in_pieces = arguments(pairs, outs["pieces"], *settings, "--set", "gradient_accumulation_steps=2")
    pieces = run(*launch(2, *in_pieces), OMP_NUM_THREADS="1")
    assert pieces.returncode == 0, pieces.stderr
    logs = {name: [json.loads(line) for line in (out / "metrics.jsonl").open()] for name, out in outs.items()}
    for name in ("two", "pieces"):
        worst = max(abs(a["loss"] - b["loss"]) for a, b in zip(logs["one"], logs[name], strict=True))
        print(f"{name}: {len(logs[name])} steps, losses differ by at most {worst:.1e}")
        assert len(logs[name]) == 12
        assert worst < 1e-5
        for path in (outs["one"] / "model").rglob("*.safetensors"):
            mine, theirs = load_file(path), load_file(outs[name] / path.relative_to(outs["one"]))
            assert max((mine[key] - theirs[key]).abs().max().item() for key in mine) < 1e-5
    assert len(list((outs["two"] / "checkpoints").glob("*.pt"))) == 2


def test_ctrl_c_saves_and_a_second_one_stops_at_once(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = arguments(pairs, out, "--max-train-steps", 5000, "--set", "checkpointing_steps=5")
    for presses in (1, 2):
        process = start(*command)
        before = progress(out)
        end = time.monotonic() + 120
        while progress(out) <= before and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        for _ in range(presses):
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Interrupted. The same command again goes on from here." in errors
        assert "Traceback" not in errors
        assert progress(out) > before


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
