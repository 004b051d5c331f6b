"""Accelerate's trackers (TensorBoard, W&B, Trackio and its others), passed through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType
from PIL import Image

from llm4gen_data.config import flatten, to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.metrics import append_metrics

PROJECT = "llm4gen"


def require_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for a tracker that accelerate does not know, UserError for one that is not installed.

    Accelerate itself would leave the latter out without a word.
    """
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UsageError(f"report_to: unknown tracker {name!r}; known are {', '.join(LOGGER_TYPE_TO_CLASS)}")
        # those that others have registered are there
        if name in LoggerType and LoggerType(name) not in get_available_trackers():
            raise UserError(f"report_to: {name} is not installed: pip install {name}")


def start_trackers(accelerator: Accelerator, config: TrainConfig) -> None:
    """Begin a run in every tracker of the configuration. Raises UserError if one of them cannot."""
    usual: dict[str, dict[str, Any]] = {
        "wandb": {"name": config.out.name, "dir": config.out},
        "trackio": {"name": config.out.name},
    }
    options = {name: usual.get(name, {}) | config.tracker_options.get(name, {}) for name in config.report_to}
    settings = flatten(to_plain(config))
    scalars = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in settings.items()}
    try:
        accelerator.init_trackers(PROJECT, scalars, options)
    except Exception as error:  # each library has its own: no key, no network, arguments it does not know
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"report_to: {', '.join(config.report_to)} could not be started ({reason})") from error


def log_metrics(accelerator: Accelerator, path: Path, line: Mapping[str, float]) -> None:
    """Append a line to `metrics.jsonl` and give its values to the trackers. For the main process."""
    append_metrics(path, line)
    values = {name: value for name, value in line.items() if name != "step"}
    accelerator.log(values, step=int(line["step"]))


def log_grid(accelerator: Accelerator, grid: Image.Image, step: int) -> None:
    """Give the picture of samples to the trackers that take pictures."""
    pictures = {"samples": np.asarray(grid)[None]}
    for tracker in accelerator.trackers:
        if tracker.name == "tensorboard":  # which wants to be told where the channels are
            tracker.log_images(pictures, step, dataformats="NHWC")
        elif hasattr(tracker, "log_images"):
            tracker.log_images(pictures, step)


def finish_trackers(accelerator: Accelerator) -> None:
    """Close them; what they have is then written or sent."""
    for tracker in accelerator.trackers:
        tracker.finish()
