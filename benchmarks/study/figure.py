"""The chart of a study: for each opponent and axis a bar of wins, ties and losses, published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.study.published import PublishedRate
from llm4gen_data.runs import atomic_path

WIN, TIE, LOSE = "#3b6fb6", "#c9cdd1", "#e0a07a"
BAR_INCHES, WIDTH_INCHES = 0.36, 7.2
MIN_LABELLED_PERCENT = 6.0

Bar = dict[str, Any]


def bars(rows: Sequence[Mapping[str, Any]], model: str, published: Sequence[PublishedRate]) -> list[Bar]:
    """The bars of `model` against each opponent, in percent, top to bottom: ours, then what was published of it.

    `rows` are those of `winrates.win_rates`. A bar of ours has the win rate with ties as half and its two-way
    interval; a published one has no interval, since its votes are not known.
    """
    found: list[Bar] = []
    for row in rows:
        if row["category"] is not None or row["ties"] != "half" or model not in (row["model"], row["opponent"]):
            continue
        turned = row["model"] != model
        opponent = row["model"] if turned else row["opponent"]
        counts = [row["n_wins"], row["n_ties"], row["n_losses"]]
        win, tie, lose = (100 * count / row["n_votes"] for count in (reversed(counts) if turned else counts))
        ends = [row["two_way_low"], row["win_rate"], row["two_way_high"]]
        low, rate, high = (
            None if end is None else 100 * (1 - end if turned else end) for end in (reversed(ends) if turned else ends)
        )
        names = {"opponent": opponent, "axis": row["axis"], "model": model, "source": None}
        found.append({**names, "win": win, "tie": tie, "lose": lose, "rate": rate, "low": low, "high": high})
    for given in published:
        lose = given.lose if given.lose is not None else 100 - given.win - (given.tie or 0)
        shares = {"win": given.win, "tie": given.tie or 0.0, "lose": lose, "rate": None, "low": None, "high": None}
        names = {"opponent": given.opponent, "axis": given.axis, "model": given.model, "source": given.source}
        found.append({**names, **shares})
    opponents = list(dict.fromkeys(bar["opponent"] for bar in found))
    axes = list(dict.fromkeys(bar["axis"] for bar in found))
    return sorted(found, key=lambda bar: (opponents.index(bar["opponent"]), axes.index(bar["axis"])))


def write_figure(paths: Sequence[Path], drawn: Sequence[Bar]) -> None:
    """Draw `drawn` and write it to `paths`, in the formats that their suffixes name; equal bars give equal bytes."""
    gaps = len({bar["opponent"] for bar in drawn}) - 1
    height = BAR_INCHES * (len(drawn) + 0.6 * gaps) + 1.3
    settings = {"font.family": "DejaVu Sans", "font.size": 8.5, "svg.hashsalt": "llm4gen", "hatch.linewidth": 0.6}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, drawn)
        handles = [Patch(color=color, label=label) for color, label in ((WIN, "win"), (TIE, "tie"), (LOSE, "lose"))]
        if any(bar["source"] for bar in drawn):
            handles.append(Patch(facecolor="white", edgecolor="#555555", hatch="////", label="published"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
        for path in paths:
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:], {})
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=undated)


def _draw(axes: Axes, drawn: Sequence[Bar]) -> None:
    y, ticks, labels = 0.0, [], []
    for i, bar in enumerate(drawn):
        if i and bar["opponent"] != drawn[i - 1]["opponent"]:
            y += 0.6
        left = 0.0
        style: dict[str, Any] = {"alpha": 0.55, "hatch": "////", "edgecolor": "white"} if bar["source"] else {}
        for share, color in ((bar["win"], WIN), (bar["tie"], TIE), (bar["lose"], LOSE)):
            axes.barh(y, share, left=left, height=0.78, color=color, linewidth=0, **style)
            if share >= MIN_LABELLED_PERCENT:
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0} if bar["source"] else None
                at = left + (3.2 if color == WIN else share - 3.2 if color == LOSE else share / 2)
                ink = "white" if color == WIN and not bar["source"] else "black"
                above = y - 0.16 if color == TIE else y  # the interval stands in front of the ties
                axes.text(at, above, f"{share:.1f}", ha="center", va="center", color=ink, fontsize=7.5, bbox=box)
            left += share
        if bar["low"] is not None:
            reach = [[max(0.0, bar["rate"] - bar["low"])], [max(0.0, bar["high"] - bar["rate"])]]
            below = y + 0.2
            axes.errorbar(bar["rate"], below, xerr=reach, fmt="o", markersize=3, color="black", capsize=2.5, lw=1)
        ticks.append(y)
        origin = f"\n(published, {bar['model']})" if bar["source"] else ""
        labels.append(f"vs {bar['opponent']}, {bar['axis']}{origin}")
        y += 1.0
    axes.axvline(50, color="#333333", linestyle="--", linewidth=0.8)
    axes.set(xlim=(0, 100), xlabel="% of votes", yticks=ticks, yticklabels=labels)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a name may hold a dollar sign
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
