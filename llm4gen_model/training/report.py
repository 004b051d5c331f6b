"""One HTML file on a training run, which needs no network: curves, samples beside the base's, configuration."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from llm4gen_data.config import to_plain
from llm4gen_data.runs import read_json, write_text
from llm4gen_model.training.config import WHAT, TrainConfig
from llm4gen_model.training.curves import chart
from llm4gen_model.training.metrics import read_metrics
from llm4gen_model.training.samples import BASE, sampled_steps

MAX_COLUMNS = 8
CELL_PIXELS = 256

CURVES = (
    ("loss", "Training loss"),
    ("val_loss", "Validation loss"),
    ("entity_loss", "Entity loss"),
    ("grad_norm", "Gradient norm before clipping"),
    ("learning_rate", "Learning rate"),
    ("images_per_s", "Images per second"),
    ("max_memory_gb", "GPU memory, GB at most"),
)


def write_report(config: TrainConfig, out: Path) -> None:
    """Write `report.html` from `metrics.jsonl` and `samples/`, whether the run is finished or under way."""
    lines = read_metrics(out / "metrics.jsonl")
    trained = [line for line in lines if "loss" in line]
    environment = Environment(
        loader=PackageLoader("llm4gen_model", "training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    last_step = lines[-1]["step"] if lines else 0
    html = environment.get_template("report.html.jinja").render(
        name=out.name,
        what=WHAT[config.train],
        base=config.base,
        is_running=last_step < config.max_train_steps,
        facts=facts(config, trained),
        validation=validation(lines),
        has_held_out=config.validation_share > 0,
        charts=charts(lines, last_step),
        samples=samples(out / "samples"),
        config=yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True),
    )
    write_text(out / "report.html", html)


def charts(lines: Sequence[Mapping[str, float]], last_step: float) -> list[dict[str, Any]]:
    """One chart for everything that was logged."""
    base = base_loss(lines)
    drawn = [
        chart(
            title,
            {name: [(line["step"], line[name]) for line in lines if name in line]},
            last_step,
            smooth=name if name in ("loss", "entity_loss") else None,
            level=base if name == "val_loss" else None,
        )
        for name, title in CURVES
    ]
    return [each for each in drawn if each is not None]


def facts(config: TrainConfig, trained: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str]]:
    """The figures on top: what, value, remark."""
    if not trained:
        return []
    last = trained[-1]
    done, total = last["step"], config.max_train_steps
    rates = sorted(line["images_per_s"] for line in trained)
    steps = [0, *(line["step"] for line in trained)]
    seconds = sum(
        (line["step"] - before) * config.train_batch_size / line["images_per_s"]
        for before, line in zip(steps, trained, strict=False)
    )
    left = seconds / done * (total - done)
    precision = "" if config.mixed_precision == "no" else f", {config.mixed_precision}"
    found = [
        ("Step", f"{done:,} of {total:,}", f"batch {config.train_batch_size}, epoch {last.get('epoch', 0):.2f}"),
        ("Training loss", *loss_now_and_first([line["loss"] for line in trained])),
        ("Images per second", f"{rates[len(rates) // 2]:.3g}", f"median, {config.device}{precision}"),
        ("Time in steps", duration(seconds), f"{duration(left)} left" if done < total else "finished"),
    ]
    if "max_memory_gb" in last:
        found.append(("GPU memory", f"{last['max_memory_gb']:.1f} GB", "at most, of the first GPU"))
    return found


def loss_now_and_first(losses: Sequence[float]) -> tuple[str, str]:
    """The mean of the last quarter and, in words, that of the first; single losses scatter with their time steps."""
    n = math.ceil(len(losses) / 4)
    if len(losses) < 4:
        return f"{fmean(losses):.4f}", "mean of all steps"
    return f"{fmean(losses[-n:]):.4f}", f"in the last quarter of the steps done, {fmean(losses[:n]):.4f} in the first"


def validation(lines: Sequence[Mapping[str, float]]) -> dict[str, Any] | None:
    """The validation loss now, at its best, and of the base; None without one."""
    found = [(line["val_loss"], line["step"]) for line in lines if "val_loss" in line]
    base = base_loss(lines)
    if not found or base is None:
        return None
    now, best = found[-1], min(found)
    return {
        "now": now[0],
        "step": now[1],
        "best": best[0],
        "best_step": best[1],
        "base": base,
        "gain": 1 - now[0] / base,
    }


def base_loss(lines: Sequence[Mapping[str, float]]) -> float | None:
    """The validation loss of the base, if it was measured."""
    return next((line["val_loss_base"] for line in lines if "val_loss_base" in line), None)


def samples(folder: Path) -> dict[str, Any] | None:
    """The prompts, each with the base's picture and those of up to MAX_COLUMNS steps; None before the first ones."""
    steps = sampled_steps(folder)
    if not steps:
        return None
    about = read_json(folder / "about.json")
    n = min(MAX_COLUMNS, len(steps))
    chosen = [steps[-1]] if n == 1 else [steps[round(i * (len(steps) - 1) / (n - 1))] for i in range(n)]
    columns = {BASE: folder / BASE, **{f"step {step:,}": folder / f"{step:08d}" for step in chosen}}
    return {
        "columns": list(columns),
        "steps": about["num_inference_steps"],
        "guidance": about["guidance_scale"],
        "seed": about["seed"],
        "rows": [
            {
                "read": prompt[:clip_end],
                "cut": prompt[clip_end:],
                "cells": [(name, thumbnail(path / f"{number}.png")) for name, path in columns.items()],
            }
            for number, (prompt, clip_end) in enumerate(zip(about["prompts"], about["clip_ends"], strict=True))
        ],
    }


def thumbnail(path: Path) -> str:
    """A picture as a data URL, of at most CELL_PIXELS a side: small ones as they are, large ones shrunk to WebP."""
    with Image.open(path) as image:
        if max(image.size) <= CELL_PIXELS:
            return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        image.thumbnail((CELL_PIXELS, CELL_PIXELS), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=85)
        return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def duration(seconds: float) -> str:
    """Such as 0:03:20 or 2 days, 1:00:00."""
    return str(timedelta(seconds=round(seconds)))
