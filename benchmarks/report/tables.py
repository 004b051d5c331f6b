"""Results as tables for people: aligned Markdown, the same on the screen, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

Rows = list[list[str]]

COUNTS = ("n_prompts", "n_images", "n_failed")
SHARES = ("better", "equal", "worse")
PAIR_COUNTS = ("prompts", "pairs", "left out")


def score_cells(results: Mapping[str, Any]) -> Rows:
    """A row a metric and kind over all prompts, a column a model: mean and interval. `results` as in results.json."""
    models = results["models"]
    rows = [["metric", "kind", *models, "prompts", "images", "failed"]]
    overall = [row for row in results["scores"] if row["category"] is None]
    for metric, kind in dict.fromkeys((row["metric"], row["kind"]) for row in overall):
        of_kind = {row["model"]: row for row in overall if (row["metric"], row["kind"]) == (metric, kind)}
        digits = results["metrics"][metric]["digits"]
        counts = (_counts([of_kind[model][name] for model in models]) for name in COUNTS)
        rows.append([metric, kind, *(estimate_text(of_kind[model], digits) for model in models), *counts])
    return rows


def comparison_cells(results: Mapping[str, Any], *, by_category: bool) -> Rows:
    """A row a comparison over all prompts; with `by_category`, those of single categories behind them."""
    rows = [
        ["model", "baseline", "metric", "kind", "prompts of", "difference", "p", "p (Holm)", *SHARES, *PAIR_COUNTS]
    ]
    for row in results["comparisons"]:
        if row["category"] is not None and (not by_category or not row["n_pairs"]):
            continue  # a metric that is not for this category has nothing to compare
        shares = [share_text(row[f"share_{name}"]) for name in SHARES]
        rows.append(
            [
                *(row["model"], row["baseline"], row["metric"], row["kind"], row["category"] or "all"),
                estimate_text(row, results["metrics"][row["metric"]]["digits"], sign="+"),
                *(p_text(row["p_value"]), p_text(row["p_holm"]), *shares),
                *(str(row[f"n_{name.replace(' ', '_')}"]) for name in PAIR_COUNTS),
            ]
        )
    return rows


def split_cells(results: Mapping[str, Any]) -> Rows:
    """A row a metric and model: its mean over seen and over unseen prompts, and how far they are apart."""
    found = {(row["metric"], row["model"], row["split"]): row for row in results["splits"]}
    names = list(dict.fromkeys(split for _, _, split in found))
    rows = [["metric", "model", *names, "p", "p (Holm)", "prompts"]]
    for metric, model in dict.fromkeys((metric, model) for metric, model, _ in found):
        digits = results["metrics"][metric]["digits"]
        of_model = [found[metric, model, name] for name in names]
        gap = of_model[-1]
        texts = (estimate_text(row, digits, sign="+" if row is gap else "") for row in of_model)
        counts = " / ".join(str(row["n_prompts"]) for row in of_model[:-1])
        rows.append([metric, model, *texts, p_text(gap["p_value"]), p_text(gap["p_holm"]), counts])
    return rows


def estimate_text(row: Mapping[str, Any], digits: int, sign: str = "") -> str:
    """ "0.512 [0.470, 0.555]"; without the interval where there is none, "-" where there is no value."""
    if row["mean"] is None:
        return "-"
    mean = f"{row['mean']:{sign}.{digits}f}"
    if row["low"] is None:
        return mean
    return f"{mean} [{row['low']:{sign}.{digits}f}, {row['high']:{sign}.{digits}f}]"


def share_text(share: float | None) -> str:
    """ "12 %"."""
    return "-" if share is None else f"{100 * share:.0f} %"


def p_text(p: float | None) -> str:
    """ "0.013", never "0.000"."""
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def markdown(rows: Rows) -> str:
    """An aligned Markdown table of a header and its rows; bars in cells are escaped."""
    safe = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*safe, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in safe]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]) + "\n"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """All columns of flat rows as CSV; None is empty."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _counts(numbers: Sequence[int]) -> str:
    """One number where all models agree, else all of them in order."""
    return str(numbers[0]) if len(set(numbers)) == 1 else " / ".join(map(str, numbers))
