"""Muon beside AdamW: `python -m tests.performance.optimizers [--steps 600]`.

unet-mini's architecture is trained from random weights on the same scenes in the same order by both, for as many
steps. Printed: validation losses on the way, and how many times fewer steps, and less time, Muon took to AdamW's last.
"""

import json
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import yaml

from tests.commands import run

N_PAIRS = 8_000
VALIDATION_STEPS = 50
OPTIMIZERS = {
    "adamw": {"optimizer": "adamw", "learning_rate": 1e-3},
    "muon": {"optimizer": "muon", "learning_rate": 5e-3, "optimizer_options": {"adamw_lr": 1e-3}},
}


def train(folder: Path, name: str, steps: int) -> dict[int, float]:
    """Train by the command; return the validation losses by step."""
    config = {
        "base": "mini",
        "train": "unet",
        "unet_config": "pipelines/mini/unet.json",
        "resolution": 64,
        "captions": {"short_caption": 0.5, "medium_caption": 0.5},
        "max_train_steps": steps,
        "lr_scheduler": "constant_with_warmup",
        "adam_beta2": 0.99,
        "ema_decay": 0.99,
        "validation_share": 0.05,
        "validation_steps": VALIDATION_STEPS,
        "num_validation_images": 1,
        "num_inference_steps": 1,
        "threads": 1,
        **OPTIMIZERS[name],
    }
    file, out = folder / f"{name}.yaml", folder / name
    file.write_text(yaml.safe_dump(config))
    options = ("--config", file, "--data", folder / "pairs", "--cache", folder / "cache", "--out", out)
    result = run("llm4gen-model", "train", *options)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    return {line["step"]: line["val_loss"] for line in lines if "val_loss" in line}


@click.command(help=__doc__)
@click.option("--steps", default=600, show_default=True, help="Of either.")
def main(steps: int) -> None:
    """Train both and print the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = run("python", "-m", "pipelines.mini.pairs", "--n", N_PAIRS, "--out", folder / "pairs")
        assert made.returncode == 0, made.stderr
        train(folder, "adamw", VALIDATION_STEPS)  # fills the cache
        (folder / "adamw").rename(folder / "first")
        losses, seconds = {}, {}
        for optimizer in OPTIMIZERS:
            started = time.perf_counter()
            losses[optimizer] = train(folder, optimizer, steps)
            seconds[optimizer] = time.perf_counter() - started
            print(optimizer, {step: round(loss, 4) for step, loss in losses[optimizer].items()})
        reached = list(losses["muon"].values())
        goal = losses["adamw"][steps]
        # where Muon's falling loss crosses AdamW's last one
        muon_steps = float(np.interp(-goal, [-loss for loss in reached], list(losses["muon"])))
        ratio = steps / muon_steps
        print(f"AdamW's loss after {steps} steps, {goal:.4f}, took Muon {muon_steps:.0f}: {ratio:.2f} x fewer steps")
        print(f"and {ratio * seconds['adamw'] / seconds['muon']:.2f} x less time")


if __name__ == "__main__":
    main()
