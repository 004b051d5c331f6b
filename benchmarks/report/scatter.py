"""CLIP score against aesthetic score, as in the paper's Figure 6: a cross of intervals a model; drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment

from benchmarks.report.published import published_for

ACROSS, UP = "aesthetic", "clip_score"
WIDTH, HEIGHT = 420.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 16.0, 44.0
ENDS = ("low", "mean", "high")

Estimate = Mapping[str, float | None]
Point = tuple[str, Estimate, Estimate]  # name, across, up


def scatters(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of this run, and on axes of their own those of the paper; none without both metrics."""
    found = {
        (row["metric"], row["model"]): row
        for row in results["scores"]
        if row["metric"] in (ACROSS, UP)
        and row["category"] is None
        and row["mean"] is not None
        and row["kind"] == results["metrics"][row["metric"]]["headline"]
    }
    points: list[Point] = [
        (model, found[ACROSS, model], found[UP, model])
        for model in results["models"]
        if (ACROSS, model) in found and (UP, model) in found
    ]
    if not points:
        return []
    colors = [results["models"].index(name) for name, _, _ in points]
    panels = [_panel("Measured by this run", points, colors)]
    published = published_for(results["suite"])
    names = [column.name for column in published.columns] if published else []
    if published and ACROSS in names and UP in names:
        across, up = names.index(ACROSS), names.index(UP)
        printed = [(row.model, _exact(row.values[across]), _exact(row.values[up])) for row in published.rows]
        panels.append(_panel(f"Published, not comparable: {published.source}", printed, None))
    return panels


def scatter_svg(environment: Environment, results: Mapping[str, Any]) -> str | None:
    """This run's panel as an SVG file of its own; None without both metrics."""
    panels = scatters(results)
    if not panels:
        return None
    return environment.get_template("scatter.svg.jinja").render(panel=panels[0], is_file=True) + "\n"


def _exact(value: float | None) -> Estimate:
    return {"low": None, "mean": value, "high": None}


def _panel(title: str, points: Sequence[Point], colors: Sequence[int] | None) -> dict[str, Any]:
    """Where everything stands, in pixels; `colors` are the numbers of the models, None for published ones."""
    x_low, x_high, x_ticks = _axis([across for _, across, _ in points])
    y_low, y_high, y_ticks = _axis([up for _, _, up in points])

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - x_low) / (x_high - x_low), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y_low) / (y_high - y_low), 1)

    marks = []
    for i, (name, across, up) in enumerate(points):
        if across["mean"] is None or up["mean"] is None:
            continue
        at = x(across["mean"])
        marks.append(
            {
                "name": name,
                "color": colors[i] if colors is not None else None,
                "x": at,
                "y": y(up["mean"]),
                "across": [x(end) for end in _interval(across)],
                "up": [y(end) for end in _interval(up)],
                "is_left": at > LEFT + 0.6 * (WIDTH - LEFT - RIGHT),
                "spoken": f"{name}: {ACROSS} {across['mean']:.2f}, {UP} {up['mean']:.2f}",
            }
        )
    return {
        "title": title,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "bottom": HEIGHT - BOTTOM,
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x_ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y_ticks],
        "x_label": "aesthetic score",
        "y_label": "CLIP score",
        "marks": marks,
    }


def _interval(estimate: Estimate) -> list[float]:
    """Both ends; none where there is no interval."""
    ends = [value for end in ("low", "high") if (value := estimate[end]) is not None]
    return ends if len(ends) == 2 else []


def _axis(estimates: Sequence[Estimate]) -> tuple[float, float, list[float]]:
    """Both ends, with room for the outermost intervals, and the ticks between them."""
    from matplotlib.ticker import MaxNLocator

    values = [value for estimate in estimates for value in _ends(estimate)]
    low, high = min(values), max(values)
    padding = 0.12 * (high - low) or max(0.05 * abs(high), 0.1)
    low, high = low - padding, high + padding
    ticks = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return low, high, [round(float(tick), 10) for tick in ticks if low <= tick <= high]


def _ends(estimate: Estimate) -> list[float]:
    return [value for end in ENDS if (value := estimate[end]) is not None]
