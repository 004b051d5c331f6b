"""Where the marks of a small interval plot stand; the template draws them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, MARGIN, LINE_HEIGHT = 220.0, 8.0, 14.0
LABEL_WIDTH = 50.0


def axis_of(rows: Sequence[Mapping[str, Any]], unit: str) -> tuple[float, float]:
    """The range to plot: 0 to 1 for shares, symmetrical about 0 for differences, else as far as intervals reach."""
    if unit.startswith(("share", "0 to 1")):
        return 0.0, 1.0
    ends = [row[end] for row in rows for end in ("low", "mean", "high") if row[end] is not None]
    if unit == "difference":
        reach = max((abs(end) for end in ends), default=0.0) or 1.0
        return -reach, reach
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    padding = 0.1 * (high - low) or 1.0
    return low - padding, high + padding


def whiskers(
    rows: Sequence[Mapping[str, Any]], axis: tuple[float, float], models: Sequence[str], *, has_labels: bool
) -> dict[str, Any]:
    """One line a row: x of its mean and of its interval's ends, and the number of its model, which gives the colour.

    `zero` is its x where the axis holds it inside, `zero_label` whether there is room to name it; room for the axis'
    labels is made with `has_labels`.
    """

    def x(value: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (value - axis[0]) / (axis[1] - axis[0]), 1)

    lines = []
    for i, row in enumerate(rows):
        if row["mean"] is not None:
            low, high = (row["low"], row["high"]) if row["low"] is not None else (row["mean"], row["mean"])
            line = {"y": LINE_HEIGHT * (i + 0.5), "low": x(low), "x": x(row["mean"]), "high": x(high)}
            lines.append({**line, "color": models.index(row["model"])})
    zero = x(0.0) if axis[0] < 0 < axis[1] else None
    return {
        "width": WIDTH,
        "height": LINE_HEIGHT * len(rows),
        "has_labels": has_labels,
        "left": x(axis[0]),
        "right": x(axis[1]),
        "zero": zero,
        "zero_label": zero is not None and min(zero - x(axis[0]), x(axis[1]) - zero) > LABEL_WIDTH,
        "lines": lines,
        "from": f"{axis[0]:.3g}",
        "to": f"{axis[1]:.3g}",
    }
