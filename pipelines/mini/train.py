"""The training loop of the mini models: a stage of steps or minutes that stops anywhere and goes on bit for bit."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from pytorch_optimizer import Muon
from torch import nn

from pipelines.mini.vlm_data import index_batches

LossParts = dict[str, torch.Tensor]

CHECKPOINT_INTERVAL_S = 180.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's schedule: it ends after `steps`, or after `minutes` of training where `steps` is 0."""

    name: str
    batch_size: int
    learning_rates: tuple[float, float]  # of Muon and of AdamW
    minutes: float
    steps: int = 0
    warmup_steps: int = 100

    def progress(self, step: int, seconds: float) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * self.minutes))

    def learning_rate_factor(self, step: int, progress: float) -> float:
        """Linear warm-up, then a cosine down to a hundredth."""
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        return warmup * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def build_optimizers(stage: Stage, modules: nn.ModuleDict) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices of transformers and the kernels of residual blocks, which it trains in fewer steps; AdamW
    for all the rest.

    Each comes with its peak learning rate; where there are no such matrices, or that of Muon is 0, there is no Muon.
    """
    muon, adamw = stage.learning_rates
    matrices = [p for name, p in modules.named_parameters() if muon and is_hidden(name, p)]
    chosen = set(matrices)
    others = [p for p in modules.parameters() if p not in chosen]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = []
    if matrices:
        group = {"params": matrices, "use_muon": True}
        optimizers.append((Muon([group], lr=muon, weight_decay=0.05, use_adjusted_lr=True), muon))
    optimizers.append((torch.optim.AdamW(others, lr=adamw, betas=(0.9, 0.98), weight_decay=0.01, fused=True), adamw))
    return optimizers


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether it maps hidden features to hidden features."""
    return ("layers." in name and parameter.dim() == 2) or ("resnets." in name and parameter.dim() == 4)


def train_stage(
    stage: Stage,
    modules: nn.ModuleDict,
    losses_of: Callable[[np.ndarray], tuple[torch.Tensor, LossParts]],
    n_scenes: int,
    out: Path,
    seed: int,
    on_checkpoint: Callable[[], None],
) -> dict[str, Any]:
    """Train until the stage's end, with a checkpoint every three minutes; return steps, minutes and last losses."""
    parameters = list(modules.parameters())
    optimizers = build_optimizers(stage, modules)
    path = out / f"{stage.name}.pt"
    step, seconds, means = 0, 0.0, {}
    if path.exists():
        saved = torch.load(path, weights_only=True)
        modules.load_state_dict(saved["modules"])
        for (optimizer, _), state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, seconds, means = saved["step"], saved["seconds"], saved["means"]
        click.echo(f"{stage.name}: goes on at step {step}, {seconds / 60:.1f} min")

    batches = index_batches(n_scenes, stage.batch_size, seed, step)
    last_save, seen = seconds, []
    modules.train()
    while stage.progress(step, seconds) < 1:
        started = time.perf_counter()
        progress = stage.progress(step, seconds)
        total, parts = losses_of(next(batches))
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, learning_rate in optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate * stage.learning_rate_factor(step, progress)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        seconds += time.perf_counter() - started

        seen.append({name: part.item() for name, part in parts.items()})
        if step % 50 == 0 or stage.progress(step, seconds) == 1:
            means = {name: float(np.mean([losses[name] for losses in seen])) for name in parts}
            seen.clear()
            report(stage, step, seconds, means, out)
        if seconds - last_save > CHECKPOINT_INTERVAL_S or stage.progress(step, seconds) == 1:
            save_checkpoint(path, modules, optimizers, {"step": step, "seconds": seconds, "means": means})
            last_save = seconds
            on_checkpoint()
    return {**asdict(stage), "steps": step, "minutes": seconds / 60, "losses": means}


def save_checkpoint(
    path: Path,
    modules: nn.ModuleDict,
    optimizers: Sequence[tuple[torch.optim.Optimizer, float]],
    progress: dict[str, Any],
) -> None:
    """Write all that a stage needs to go on, whole or not at all."""
    state = {"modules": modules.state_dict(), "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers]}
    partial = path.with_suffix(".partial")
    torch.save({**state, **progress}, partial)
    partial.replace(path)


def report(stage: Stage, step: int, seconds: float, means: dict[str, float], out: Path) -> None:
    """Print one line with rate and time left, and append the same to `metrics.jsonl`."""
    progress = stage.progress(step, seconds)
    left_s = seconds / max(progress, 1e-9) * (1 - progress)
    rate = step * stage.batch_size / seconds
    losses = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
    click.echo(f"{stage.name} {step}  {losses}  {rate:.0f} images/s, {left_s / 60:.1f} min left")
    with (out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"stage": stage.name, "step": step, "seconds": seconds, **means}) + "\n")
