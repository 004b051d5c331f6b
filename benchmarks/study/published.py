"""Win rates that others published, to stand beside ours: the paper's own, or a CSV file of the user's."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from llm4gen_data.errors import UserError

COLUMNS = ("axis", "model", "opponent", "win", "tie", "lose", "source")
TOLERANCE_PERCENT = 0.2  # percentages are printed rounded


@dataclass(frozen=True, slots=True)
class PublishedRate:
    """How often `model` won, tied and lost against `opponent`, in percent; None where it was not published."""

    axis: str
    model: str
    opponent: str
    win: float
    tie: float | None
    lose: float | None
    source: str


LLM4GEN = "LLM4GEN (arXiv 2407.00737v1), Fig. 7"

# Wins and losses add up to 100: ties were left out or not offered. Raters, prompts and votes are not told.
PAPER = tuple(
    PublishedRate(axis, "LLM4GEN-SDXL", opponent, win, None, round(100 - win, 1), LLM4GEN)
    for opponent, aesthetic, semantic in (("SD1.5", 83.3, 91.7), ("SDXL", 60.3, 66.5), ("DALL-E 3", 50.6, 51.8))
    for axis, win in (("aesthetic", aesthetic), ("semantic", semantic))
)


def read_published(name: str) -> list[PublishedRate]:
    """The rows of "paper", or of a CSV file with COLUMNS; `tie` and `lose` may be empty.

    Raises UserError naming file, line and value for what is no percentage, or for shares that do not fit together.
    """
    if name == "paper":
        return list(PAPER)
    path = Path(name)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                raise UserError(f"{path}: no column {', '.join(absent)}; expected {', '.join(COLUMNS)}")
            return [_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}; expected a CSV file, or the word paper") from error


def _row(row: dict[str, str | None], where: str) -> PublishedRate:
    for column in ("axis", "model", "opponent", "source"):
        if not (row[column] or "").strip():
            raise UserError(f"{where}: {column} is empty")
    win = _percent(row, "win", where)
    if win is None:
        raise UserError(f"{where}: win is empty; expected a percentage")
    tie, lose = _percent(row, "tie", where), _percent(row, "lose", where)
    total = win + (tie or 0) + (lose or 0)
    if total > 100 + TOLERANCE_PERCENT or (tie is not None and lose is not None and total < 100 - TOLERANCE_PERCENT):
        raise UserError(f"{where}: win, tie and lose add up to {total:g}; expected 100")
    names = {column: (row[column] or "").strip() for column in ("axis", "model", "opponent", "source")}
    return PublishedRate(win=win, tie=tie, lose=lose, **names)


def _percent(row: dict[str, str | None], column: str, where: str) -> float | None:
    text = (row[column] or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise UserError(f"{where}: {column} {text!r}: expected a percentage from 0 to 100")
    return value
