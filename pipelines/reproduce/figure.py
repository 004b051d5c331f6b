"""What there is to look at: the arms as points with intervals, and pictures of theirs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from llm4gen_data.runs import atomic_path
from llm4gen_model.generate.grid import draw_grid
from pipelines.reproduce.preset import Preset


def draw(preset: Preset, results: Mapping[str, Any], path: Path) -> None:
    """Draw the primary end point of every arm; those of the claim are filled. Equal results give an equal picture."""
    rows = [row for row in results["arms"] if row["mean"] is not None]
    figure = Figure(figsize=(7.2, 0.8 + 0.32 * len(rows)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        own = row["arm"] in preset.claim.arms
        color = "#1f5fa8" if own else "#555555"
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=color, linewidth=1.6)
        axes.plot(row["mean"], place, "o", color=color, markerfacecolor=color if own else "white", markersize=6)
    titles = {name: arm.title for name, arm in preset.chosen_arms().items()}
    labels = [f"{row['arm']}  {titles[row['arm']]} ({row['n_seeds']})" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{results['primary']['kind']}, {results['primary']['n_prompts']} prompts; (seeds)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def draw_examples(preset: Preset, examples: pd.DataFrame, prompts: pd.DataFrame, path: Path) -> None:
    """Draw a row a prompt and a column an arm; prompts that not every arm has a picture of are left out."""
    pictures = {(row["arm"], row["prompt_id"]): row["image"] for row in examples.to_dict("records")}
    arms = [name for name in preset.chosen_arms() if name in set(examples["arm"])]
    texts = dict(zip(prompts["prompt_id"], prompts["prompt"], strict=True))
    shown = [prompt_id for prompt_id in texts if all((arm, prompt_id) in pictures for arm in arms)]
    images = [[Image.open(io.BytesIO(pictures[arm, prompt_id])) for arm in arms] for prompt_id in shown]
    with atomic_path(path) as temporary:
        draw_grid(arms, [texts[prompt_id] for prompt_id in shown], images).save(temporary, format="png", optimize=True)
