"""Checkpoints: one file each, written whole or not at all, read without running any code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path, sweep_temporary_files


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped; randomness is a function of the step."""

    modules: nn.ModuleDict
    optimizer: torch.optim.Optimizer
    schedule: Any
    ema: EMAModel
    pending: list[tuple[float, float, float]]
    """Metrics of the steps since the last line of the log."""


def save_checkpoint(folder: Path, state: Checkpoint, step: int) -> Path:
    """Write `folder/<step>.pt` durably."""
    buffer = io.BytesIO()
    torch.save(
        {
            "step": step,
            "modules": state.modules.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "schedule": state.schedule.state_dict(),
            "ema": state.ema.state_dict(),
            "pending": state.pending,
        },
        buffer,
    )
    path = folder / f"{step:08d}.pt"
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints, the oldest first."""
    return sorted(folder.glob("[0-9]*.pt"))


def latest_checkpoint(folder: Path, state: Checkpoint) -> int:
    """Load the last checkpoint into `state` and return its step, 0 if there is none.

    Raises UserError if it is damaged, holds code, or belongs to modules of another shape.
    """
    sweep_temporary_files(folder)
    paths = checkpoints(folder)
    if not paths:
        return 0
    path = paths[-1]
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state.modules.load_state_dict(saved["modules"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.ema.load_state_dict(saved["ema"])
        state.schedule.load_state_dict(saved["schedule"])
        state.pending[:] = [tuple(metrics) for metrics in saved["pending"]]
        step = int(saved["step"])
    except Exception as error:  # torch's loaders raise nearly anything on damaged bytes
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not a checkpoint of this run ({reason}); delete it to go on from an earlier one"
        ) from error
    state.ema.to(next(state.modules.parameters()).device)
    return step


def prune(folder: Path, limit: int) -> None:
    """Delete the oldest checkpoints, keeping `limit`."""
    for path in checkpoints(folder)[:-limit]:
        path.unlink()
