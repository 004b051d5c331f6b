"""Whether the measures can be believed, in words and tables: what is kept of the recipe `trust`, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.calibration.metric import ALL_SKILLS, BETTER, POOLED
from benchmarks.calibration.tables import pooled_side_by_side, side_by_side, title
from benchmarks.report.tables import markdown, share_text
from llm4gen_data.runs import read_json
from pipelines.labels.agreement import agreement_cells

AGREEMENT, CALIBRATION, FIGURE = "agreement.json", "calibration.json", "calibration.svg"


def is_trust(record: Path) -> bool:
    """Whether a record is that of the recipe `trust`, not of an experiment."""
    return (record / CALIBRATION).is_file()


def write_trust(record: Path) -> None:
    """Draw the figure of the calibrations."""
    from benchmarks.calibration.figure import write_figure

    write_figure(record / FIGURE, read_json(record / CALIBRATION)["calibrations"])


def trust_text(record: Path, source: str) -> str:
    """The record in words and tables; below every table stands `source`."""
    agreement = read_json(record / AGREEMENT)
    calibrations = read_json(record / CALIBRATION)["calibrations"]
    parts = [
        "# Can the measures be believed?",
        "## The scene reader against an eye",
        f"{agreement['n_objects']} objects in {agreement['n_pictures']} generated pictures, labelled once from "
        "enlarged sheets that show neither prompt nor reading (`pipelines/labels/v2`), by a vision model that saw "
        "nothing else, not by a person; reader version "
        f"{agreement['reader']['version']}. Under *agreement* and *by picture*, abstentions and missed objects count "
        "against the reader; under *where told*, neither counts. Brackets: 95 % intervals, Wilson's; *by picture*: "
        "of resampled pictures.",
        markdown(agreement_cells(agreement)),
        source,
        "## What metrics tell apart",
        "Drawn scenes and twins that differ in one thing: how often a prompt's own picture scores higher than the "
        "twin's. Ties count half, chance is 0.50. Brackets: 95 % intervals, scenes drawn anew. A model behind `=` is "
        "not the metric's own; `judge` is a clip-mini of another seed, which conditions no generator here.",
        markdown(side_by_side(calibrations)),
        source,
        "\n".join(f"- {line}" for line in _verdicts(calibrations)),
        f"By the number of objects in the picture, {POOLED} pooled:",
        markdown(pooled_side_by_side(calibrations)),
        source,
        f"![by number of objects]({FIGURE})",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _verdicts(calibrations: list[Mapping[str, Any]]) -> Iterator[str]:
    """Of each calibration, what it does not tell apart, and how much of the prompts the metric read."""
    for calibration in calibrations:
        rows = [row for row in calibration["skills"] if row["skill"] != ALL_SKILLS]
        others = dict.fromkeys(row["verdict"] for row in rows if row["verdict"] != BETTER)
        lacking = [f"{v} at {', '.join(row['skill'] for row in rows if row['verdict'] == v)}" for v in others]
        cut = max((row["cut"] for row in rows if row["cut"] is not None), default=None)
        read = f" (up to {share_text(cut)} of the prompts were cut)" if cut else ""
        told = "; ".join(lacking) or f"{BETTER} at everything"
        yield f"{title(calibration)}: {told}{read}."
