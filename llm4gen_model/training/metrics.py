"""`metrics.jsonl`: one line a logging interval, with means over it, and one a validation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from llm4gen_data.runs import write_text


def mean_metrics(
    steps: Sequence[tuple[float, ...]], step: int, learning_rate: float, batch_size: int, n_pairs: int
) -> dict[str, float]:
    """The line for `steps` of (loss, gradient norm, seconds) or these and the entity loss, ended with number `step`.

    `epoch` counts passes through `n_pairs`, with fractions. On a GPU `max_memory_gb` is the most that tensors took.
    """
    losses, norms, seconds, *entity_losses = zip(*steps, strict=True)
    line = {
        "step": step,
        "loss": sum(losses) / len(losses),
        "grad_norm": sum(norms) / len(norms),
        "learning_rate": learning_rate,
        "images_per_s": batch_size * len(losses) / sum(seconds),
        "samples_seen": step * batch_size,
        "epoch": step * batch_size / n_pairs,
    }
    for values in entity_losses:
        line["entity_loss"] = sum(values) / len(values)
    if torch.cuda.is_available():
        line["max_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return line


def progress_words(line: Mapping[str, float]) -> dict[str, str]:
    """What of a line goes beside the progress bar."""
    words = {"loss": f"{line['loss']:.4f}", "images/s": f"{line['images_per_s']:.3g}"}
    if "max_memory_gb" in line:
        words["GB"] = f"{line['max_memory_gb']:.1f}"
    return words


def append_metrics(path: Path, line: Mapping[str, float]) -> None:
    """Append one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_metrics(path: Path, step: int) -> None:
    """Forget what a killed start logged after the checkpoint of `step`, or half a line."""
    write_metrics(path, [line for line in read_metrics(path) if line["step"] <= step])


def write_metrics(path: Path, lines: Sequence[Mapping[str, float]]) -> None:
    """Write the file anew, whole or not at all."""
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of `metrics.jsonl`, none if there is no such file."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:  # torn by a kill
                break
    return lines
