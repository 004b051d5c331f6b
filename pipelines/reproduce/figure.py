"""The arms as points with intervals, best understood beside the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from llm4gen_data.runs import atomic_path
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
