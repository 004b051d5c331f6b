"""Probes as a table, and what they say in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report.tables import Rows, estimate_text, markdown

BINDING = ("color of a shape", "shape of a color")
CLOSE_POINTS = 10  # a text encoder so near the language models leaves them little to add


def probe_cells(probes: Mapping[str, Any]) -> Rows:
    """A row an encoder and kind of caption, a column a task: accuracy with interval, and the share of words seen."""
    tasks = list(dict.fromkeys(row["task"] for row in probes["rows"]))
    found = {(row["encoder"], row["captions"], row["task"]): row for row in probes["rows"]}
    rows: Rows = [["encoder", "captions", *tasks, "words seen"]]
    for encoder, kind in dict.fromkeys((encoder, kind) for encoder, kind, _ in found):
        own = [found.get((encoder, kind, task)) for task in tasks]
        seen = min((row["seen"] for row in own if row is not None and row["seen"] is not None), default=None)
        cells = ["-" if row is None else estimate_text(row["accuracy"], 2) for row in own]
        rows.append([_shown(encoder), kind, *cells, "-" if seen is None else f"{100 * seen:.0f} %"])
    return rows


def probe_notes(probes: Mapping[str, Any]) -> list[str]:
    """How much is cut, and how far apart text encoder and language models are in binding."""
    return [*_cut_notes(probes), *_gap_notes(probes)]


def tell(probes: Mapping[str, Any]) -> str:
    """The probes for people."""
    meaning = (
        "Share of right answers of a linear classifier on the states of a word's tokens, on scenes it was not fitted "
        "on; a word that was cut counts as wrong. Brackets: 95 % intervals, scenes drawn anew."
    )
    return "\n".join([markdown(probe_cells(probes)), meaning, *probe_notes(probes)])


def binding_accuracy(probes: Mapping[str, Any], encoder: str, kind: str) -> float | None:
    """Of the better of both ways to ask for a binding, as the scenes kept apart for choices have it."""
    row = _chosen(probes, encoder, kind)
    mean: float | None = row["accuracy"]["mean"] if row is not None else None
    return mean


def _chosen(probes: Mapping[str, Any], encoder: str, kind: str) -> Mapping[str, Any] | None:
    own = [
        row
        for row in probes["rows"]
        if (row["encoder"], row["captions"]) == (encoder, kind) and row["task"] in BINDING and "dev_accuracy" in row
    ]
    return max(own, key=lambda row: row["dev_accuracy"] * (row["seen"] or 0.0), default=None)


def _cut_notes(probes: Mapping[str, Any]) -> Iterator[str]:
    for encoder, shares in probes["cut_share"].items():
        told = ", ".join(f"{100 * share:.0f} % of the {kind} captions" for kind, share in shares.items())
        yield f"{_shown(encoder)} does not see the end of {told}."


def _gap_notes(probes: Mapping[str, Any]) -> Iterator[str]:
    """Each text encoder against the best language model that has learned."""
    encoders = probes["encoders"]
    llms = [name for name in encoders if name.startswith("llm:") and not name.endswith("-random")]
    for kind in ("medium", "dense"):
        known = {name: binding_accuracy(probes, name, kind) for name in llms}
        best = max(
            (name for name in known if known[name] is not None), key=lambda name: known[name] or 0, default=None
        )
        for name in encoders:
            own = binding_accuracy(probes, name, kind)
            if best is None or not name.startswith("text:") or own is None:
                continue
            points = 100 * ((known[best] or 0.0) - own)
            verdict = "so there is something to add" if points >= CLOSE_POINTS else "so there is little to add"
            yield (
                f"Binding in {kind} captions: {_shown(best)} {100 * (known[best] or 0.0):.0f} %, {_shown(name)} "
                f"{100 * own:.0f} %, {points:+.0f} points, {verdict}. Of the words that it sees, {_shown(name)} has "
                f"{_seen_text(probes, name, kind)} right."
            )


def _seen_text(probes: Mapping[str, Any], encoder: str, kind: str) -> str:
    row = _chosen(probes, encoder, kind)
    mean = row["accuracy_seen"]["mean"] if row is not None else None
    return "-" if mean is None else f"{100 * mean:.0f} %"


def _shown(encoder: str) -> str:
    """A trained model by its run's name, whatever folder it lies in."""
    kind, _, source = encoder.partition(":")
    return f"CAM of {Path(source).parent.name}" if kind == "model" else encoder
