"""`metrics.jsonl`: one line a logging interval, with means over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm4gen_data.runs import write_text


def mean_metrics(
    steps: Sequence[tuple[float, float, float]], step: int, learning_rate: float, batch_size: int
) -> dict[str, float]:
    """The line for `steps` of (loss, gradient norm, seconds) that ended with step number `step`."""
    losses, norms, seconds = zip(*steps, strict=True)
    return {
        "step": step,
        "loss": sum(losses) / len(losses),
        "grad_norm": sum(norms) / len(norms),
        "learning_rate": learning_rate,
        "images_per_s": batch_size * len(losses) / sum(seconds),
    }


def append_metrics(path: Path, line: Mapping[str, float]) -> None:
    """Append one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_metrics(path: Path, step: int) -> None:
    """Forget what a killed start logged after the checkpoint of `step`, or half a line."""
    write_text(path, "".join(json.dumps(line) + "\n" for line in read_metrics(path) if line["step"] <= step))


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
