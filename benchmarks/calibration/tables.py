"""Calibrations as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calibration.metric import ALL_SKILLS, ATTRIBUTE_SKILLS, MIN_SCENES, POOLED, VIEWS
from benchmarks.report.tables import Rows, estimate_text, markdown, p_text, share_text

HEADER = ["skill", "right picture", "p (Holm)", "right prompt", "all four"]
COUNTS = ["ties", "cut", "scenes", "failed", "verdict"]


def tell(calibrations: Sequence[Mapping[str, Any]]) -> str:
    """Every calibration with what its columns mean; several of them side by side below."""
    told = [_tell_one(calibration) for calibration in calibrations]
    if len(calibrations) > 1:
        told.append("\n".join(["right picture, side by side", "", markdown(side_by_side(calibrations))]))
        told.append("\n".join([f"{POOLED} by number of objects", "", markdown(pooled_side_by_side(calibrations))]))
    return "\n\n".join(told)


def title(calibration: Mapping[str, Any]) -> str:
    """What tells the calibration from the others: "clip_score, dense prompts".

    A metric `module:attribute` is called by the latter, a model RUN/model by its run.
    """
    name, replaces, model = calibration["metric"].partition("=")
    path = Path(model)
    model = path.parent.name if path.name == "model" and path.parent.name else model
    return f"{name.rpartition(':')[2]}{replaces}{model}, {calibration['length']} prompts"


def _tell_one(calibration: Mapping[str, Any]) -> str:
    rows: Rows = [[*HEADER, *COUNTS]]
    for row in calibration["skills"]:
        picture, prompt, four = (estimate_text(row[view], 2) for view in VIEWS)
        p = p_text(row["p_holm"]) if "p_holm" in row else ""
        counts = [share_text(row["ties"]), share_text(row["cut"]), str(row["n_scenes"]), str(row["n_failed"])]
        rows.append([row["skill"], picture, p, prompt, four, *counts, row.get("verdict", "")])
    # A dense prompt is a paragraph: one pair of them shows what they are like.
    examples = list(calibration["examples"].items())[-1 if calibration["length"] == "dense" else 0 :]
    lines = [
        f"{title(calibration)} of {calibration['mean_words']:.0f} words ({calibration['headline']}) on drawn scenes "
        f"of {calibration['size_px']} px (split {calibration['split']}) and their counterfactual twins",
        "",
        markdown(rows),
        "right picture: share of prompts whose own picture scores higher than the twin's; right prompt: share of "
        "pictures that score higher with their own prompt; ties count half, chance is 0.50. All four: pairs right in "
        f"all of that, chance is 0.17. Brackets: 95 % intervals from {calibration['n_resamples']:,} bootstrap "
        "resamples of the scenes; p: right picture against chance; cut: prompts of which only a part was read.",
        *(f"{skill}: {first!r} against {second!r}" for skill, (first, second) in examples),
        "",
        f"right picture by number of objects (scenes); {POOLED}: {', '.join(ATTRIBUTE_SKILLS)} together; no interval "
        f"from fewer than {MIN_SCENES} scenes",
        "",
        markdown(_by_objects(calibration)),
    ]
    return "\n".join(lines)


def _by_objects(calibration: Mapping[str, Any]) -> Rows:
    found = {(row["skill"], row["n_objects"]): row for row in calibration["by_objects"]}
    numbers = sorted({n for _, n in found})
    rows: Rows = [["skill", *(_objects(n) for n in numbers)]]
    for skill in dict.fromkeys(skill for skill, _ in found):
        cells = [found.get((skill, n)) for n in numbers]
        rows.append([skill, *(_with_count(cell) if cell else "" for cell in cells)])
    return rows


def _with_count(row: Mapping[str, Any]) -> str:
    return f"{estimate_text(row['right_picture'], 2)} ({row['n_scenes']})"


def _objects(n: int) -> str:
    return f"{n} object{'s' if n > 1 else ''}"


def side_by_side(calibrations: Sequence[Mapping[str, Any]]) -> Rows:
    """A row a calibration, a column a skill: right picture."""
    skills = [row["skill"] for row in calibrations[0]["skills"] if row["skill"] != ALL_SKILLS]
    rows: Rows = [["metric", *skills]]
    for calibration in calibrations:
        found = {row["skill"]: row["right_picture"] for row in calibration["skills"]}
        rows.append([title(calibration), *(estimate_text(found[skill], 2) for skill in skills)])
    return rows


def pooled_side_by_side(calibrations: Sequence[Mapping[str, Any]]) -> Rows:
    """A row a calibration, a column a number of objects: right picture of the pooled skills."""
    numbers = [row["n_objects"] for row in calibrations[0]["by_objects"] if row["skill"] == POOLED]
    rows: Rows = [["metric", *(_objects(n) for n in numbers)]]
    for calibration in calibrations:
        found = {row["n_objects"]: row["right_picture"] for row in calibration["by_objects"] if row["skill"] == POOLED}
        rows.append([title(calibration), *(estimate_text(found[n], 2) for n in numbers)])
    return rows
