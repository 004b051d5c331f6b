"""How often metrics prefer the right picture, by the number of objects: a panel a skill, a line a calibration.

Colour and marker tell the metric, the line's style the length of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.calibration.metric import CHANCE
from benchmarks.calibration.tables import title
from llm4gen_data.runs import atomic_path

N_COLUMNS = 4
# Okabe and Ito's, told apart by the colour-blind; the marker changes as well.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
STYLES = {"short": "-", "medium": "-.", "dense": "--"}
LINE_WIDTH_OBJECTS = 0.36  # over which the metrics of a panel are set apart


def write_figure(path: Path, calibrations: Sequence[Mapping[str, Any]]) -> None:
    """Draw `by_objects` of the calibrations, in the format that the suffix names; equal ones give equal bytes."""
    skills = list(dict.fromkeys(row["skill"] for each in calibrations for row in each["by_objects"]))
    n_rows = -(-len(skills) // N_COLUMNS)
    settings = {"font.family": "DejaVu Sans", "font.size": 8, "svg.hashsalt": "llm4gen"}
    with mpl.rc_context(settings):
        height = 2.1 * n_rows + 0.5 + 0.18 * len(calibrations)
        figure = Figure(figsize=(2.3 * N_COLUMNS, height), layout="constrained")
        panels = figure.subplots(n_rows, N_COLUMNS, sharex=True, sharey=True, squeeze=False).flat
        for axes, skill in zip(panels, skills, strict=False):
            _draw(axes, skill, calibrations)
        for axes in list(panels)[len(skills) :]:
            axes.set_visible(False)
        figure.supxlabel("objects in the picture", fontsize=8)
        figure.supylabel("right picture preferred (chance: 0.5)", fontsize=8)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=2, frameon=False)
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:], {"Software": None})
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=undated)


def _draw(axes: Axes, skill: str, calibrations: Sequence[Mapping[str, Any]]) -> None:
    axes.axhline(CHANCE, color="#999999", linewidth=0.8, linestyle=":")
    metrics = list(dict.fromkeys(calibration["metric"] for calibration in calibrations))
    for i, calibration in enumerate(calibrations):
        rows = [row for row in calibration["by_objects"] if row["skill"] == skill]
        rows = [row for row in rows if row["right_picture"]["mean"] is not None]
        shift = LINE_WIDTH_OBJECTS * ((i + 0.5) / len(calibrations) - 0.5)
        place = metrics.index(calibration["metric"])
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        means = [row["right_picture"]["mean"] for row in rows]
        ends = [[row["right_picture"][end] for row in rows] for end in ("low", "high")]
        reach = [
            [0.0 if end is None else abs(end - mean) for end, mean in zip(own, means, strict=True)] for own in ends
        ]
        places = [row["n_objects"] + shift for row in rows]
        axes.errorbar(
            places,
            means,
            yerr=reach,
            label=title(calibration),
            color=color,
            marker=marker,
            markersize=3.5,
            linestyle=STYLES[calibration["length"]],
            lw=1,
            capsize=2,
        )
    axes.set_title(skill, fontsize=8)
    axes.set_ylim(0, 1.03)
    axes.set_xticks(sorted({row["n_objects"] for each in calibrations for row in each["by_objects"]}))
    axes.grid(axis="y", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
