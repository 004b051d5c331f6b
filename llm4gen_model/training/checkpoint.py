"""Checkpoints: written whole or not at all, in the background, each with its hash; read without running any code.

`00000500.pt` holds the state after step 500; `00000500.json`, written after it, makes it a checkpoint: step, sha256
and, where there was a validation, its loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import click
import torch
from accelerate.utils import recursively_apply
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path, read_json, sha256_file, sweep_temporary_files, write_json


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped; randomness is a function of the step."""

    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: Any
    ema: EMAModel
    scaler: torch.amp.GradScaler | None
    config: Mapping[str, Any]
    pending: list[tuple[float, ...]]
    """Metrics of the steps since the last line of the log."""

    def copied(self, step: int) -> dict[str, Any]:
        """The state after `step` in main memory, gathered from all processes: later steps do not change it."""
        state = {
            "step": step,
            "weights": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "config": dict(self.config),
            "pending": list(self.pending),
        }
        copied: dict[str, Any] = recursively_apply(whole, state)
        return copied

    def restore(self, saved: Mapping[str, Any]) -> int:
        """Take up a saved state and return its step. Raises ValueError and others if it does not fit."""
        weights = saved["weights"]
        if weights.keys() != self.parameters.keys():
            strange = sorted(weights.keys() ^ self.parameters.keys())
            raise ValueError(f"holds the weights of other parameters: {', '.join(strange[:3])}")
        for name, parameter in self.parameters.items():
            if weights[name].shape != parameter.shape:
                raise ValueError(
                    f"size mismatch for {name}: {list(weights[name].shape)}, expected {list(parameter.shape)}"
                )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(_like(weights[name], parameter))
        shards = list(self.parameters.values())
        optimizer = saved["optimizer"]
        numbered = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for number, values in optimizer["state"].items():
            shape = numbered[number].shape
            optimizer["state"][number] = {
                key: _like(value, numbered[number]) if getattr(value, "shape", None) == shape else value
                for key, value in values.items()
            }
        self.optimizer.load_state_dict(optimizer)
        shadow = saved["ema"]["shadow_params"]
        saved["ema"]["shadow_params"] = [_like(value, shard) for value, shard in zip(shadow, shards, strict=True)]
        self.ema.load_state_dict(saved["ema"])
        self.schedule.load_state_dict(saved["schedule"])
        if self.scaler is not None and saved["scaler"] is not None:
            self.scaler.load_state_dict(saved["scaler"])
        self.pending[:] = [tuple(metrics) for metrics in saved["pending"]]
        return int(saved["step"])


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in main memory; of a tensor that FSDP has cut up, of all of it: then every process must call."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().to("cpu", copy=True)


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value` where and as `parameter` is: on its device, and with FSDP this process's shard of it."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


class CheckpointWriter:
    """Writes checkpoints to `folder` one after another while training goes on, keeping the last `n_last`.

    Beside them the `n_best` with the lowest validation loss are kept. Leaving the `with` block waits for the one
    under way. What went wrong in the background is raised by the next call, as a UserError.
    """

    def __init__(self, folder: Path, n_last: int, n_best: int = 0) -> None:
        self.folder = folder
        self.n_last = n_last
        self.n_best = n_best
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None

    def save(self, state: Checkpoint, step: int, val_loss: float | None = None, *, here: bool = True) -> None:
        """Copy the state and return; every process calls it, the one with `here` writes."""
        self.wait()  # at most one copy in memory
        copied = state.copied(step)
        if here:
            self._under_way = self._thread.submit(self._write, copied, step, val_loss)

    def check(self) -> None:
        """Raise UserError if writing has failed; do not wait for it."""
        if self._under_way is not None and self._under_way.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last `save` is durable. Raises UserError if it could not be written."""
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            return
        try:
            under_way.result()
        # torch turns the error of a full disk into a RuntimeError
        except (OSError, RuntimeError) as error:
            good = checkpoints(self.folder)
            last = f"the last good one is {good[-1].name}" if good else "there is no earlier one"
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self.folder}: a checkpoint could not be written ({reason}); {last}; "
                "make room and start the same command again"
            ) from error

    def _write(self, copied: dict[str, Any], step: int, val_loss: float | None) -> None:
        path = self.folder / f"{step:08d}.pt"
        with atomic_path(path) as temporary:
            torch.save(copied, temporary)
            sha256 = sha256_file(temporary)
        write_json(path.with_suffix(".json"), {"step": step, "sha256": sha256, "val_loss": val_loss})
        prune(self.folder, self.n_last, self.n_best)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        self._thread.shutdown(wait=isinstance(error, Exception))


def checkpoints(folder: Path) -> list[Path]:
    """All whole checkpoints, the oldest first."""
    return [marker.with_suffix(".pt") for marker in sorted(folder.glob("[0-9]*.json"))]


def find_latest(folder: Path) -> Path | None:
    """The last checkpoint whose bytes are those that were written, None if there is none yet.

    A damaged one is put aside as `.damaged`, with a line. Raises UserError if all are damaged.
    """
    sweep_temporary_files(folder)
    damaged = None
    for path in reversed(checkpoints(folder)):
        marker = path.with_suffix(".json")
        if path.is_file() and sha256_file(path) == read_json(marker)["sha256"]:
            return path
        damaged = path.with_suffix(".damaged")
        click.echo(f"{path}: damaged, kept as {damaged.name}; going on from the one before it", err=True)
        if path.is_file():
            path.replace(damaged)
        marker.unlink()
    if damaged is not None:
        raise UserError(f"{folder}: all checkpoints are damaged; delete the folder to start from the beginning")
    return None


def load_checkpoint(path: Path, state: Checkpoint) -> int:
    """Load one checkpoint file into `state` and return its step. Raises UserError if it does not fit or holds code."""
    try:
        return state.restore(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch's loaders raise nearly anything on damaged bytes
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not a checkpoint of this run ({reason}); delete it to go on from an earlier one"
        ) from error


def prune(folder: Path, n_last: int, n_best: int = 0) -> None:
    """Delete all but the newest `n_last` and the `n_best` of the lowest validation loss."""
    paths = checkpoints(folder)
    losses = {path: read_json(path.with_suffix(".json"))["val_loss"] for path in paths} if n_best else {}
    best = sorted((path for path in losses if losses[path] is not None), key=lambda path: losses[path])[:n_best]
    for path in paths[:-n_last]:
        if path not in best:
            path.with_suffix(".json").unlink()
            path.unlink(missing_ok=True)
