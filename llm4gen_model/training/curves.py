"""Where the lines of a small chart over training steps stand; the template draws them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 560.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 10.0, 24.0
MAX_POINTS = 400
MIN_SMOOTHED = 40
SPIKES = 0.01
"""Share of the values that may lie beyond the upper end of the axis, so that a spike does not flatten the rest."""

Points = Sequence[tuple[float, float]]


def chart(
    title: str, lines: Mapping[str, Points], last_step: float, *, smooth: str | None = None, level: float | None = None
) -> dict[str, Any] | None:
    """One chart of the named lines of (step, value) from step 0 to `last_step`; None if there is nothing to draw.

    `smooth` names the line that gets its running mean, over a twentieth of it, as a line in front, if it is long.
    `level` is a horizontal line named base.
    """
    lines = {name: binned(points) for name, points in lines.items() if points}
    if not lines:
        return None
    if smooth in lines and len(lines[smooth]) >= MIN_SMOOTHED:
        lines["running mean"] = running_mean(lines[smooth])
    values = np.array([value for points in lines.values() for _, value in points])
    ends = [values.min(), np.quantile(values, 1 - SPIKES) if len(values) > 1 / SPIKES else values.max()]
    low, high = min([*ends, *([level] if level is not None else [])]), max([*ends, *([level] if level else [])])
    padding = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    bottom = 0.0 if low >= 0 and low < 0.35 * high else low - padding
    span_x, span_y = max(last_step, 1.0), high + padding - bottom

    def x(step: float) -> float:
        return round(float(LEFT + (WIDTH - LEFT - RIGHT) * step / span_x), 1)

    def y(value: float) -> float:
        return round(float(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - bottom) / span_y)), 1)

    x_ticks = [tick for tick in MaxNLocator(6, integer=True).tick_values(0, span_x) if 0 <= tick <= span_x]
    y_ticks = [
        tick for tick in MaxNLocator(4).tick_values(bottom, bottom + span_y) if bottom <= tick <= bottom + span_y
    ]
    first = next(iter(lines.values()))
    return {
        "title": title,
        "spoken": f"{title}: {first[0][1]:.4g} at step {first[0][0]:.0f}, {first[-1][1]:.4g} at {first[-1][0]:.0f}",
        "lines": [
            {
                "name": name,
                "number": number,
                "is_faint": name == smooth and len(lines) > 1,
                "path": "M" + "L".join(f"{x(step)},{y(value)}" for step, value in points),
                "dots": [(x(step), y(value)) for step, value in points] if len(points) <= 30 else [],
                "points": [[int(step), float(f"{value:.5g}"), x(step), y(value)] for step, value in points],
            }
            for number, (name, points) in enumerate(lines.items())
        ],
        "level": None if level is None else {"y": y(level), "value": level},
        "x_ticks": [(x(tick), f"{tick:,.0f}") for tick in x_ticks],
        "y_ticks": [(y(tick), f"{tick:.4g}") for tick in y_ticks],
        "beyond": float(values.max()) if values.max() > bottom + span_y else None,
    }


def binned(points: Points) -> list[tuple[float, float]]:
    """At most MAX_POINTS points, each the mean of as many neighbours."""
    size = -(-len(points) // MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def running_mean(points: Points) -> list[tuple[float, float]]:
    """Each value with those before it, over a twentieth of all of them."""
    window = max(1, len(points) // 20)
    values = [value for _, value in points]
    means = [sum(values[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(values))]
    return [(step, mean) for (step, _), mean in zip(points, means, strict=True)]
