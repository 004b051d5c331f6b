"""Label Studio: a project an axis, of a labelling configuration and tasks; its JSON export back.

Pairwise knows left and right only, hence a Choices beside it for a tie.
https://labelstud.io/tags/pairwise, https://labelstud.io/guide/export
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.study.records import Axis, Study
from benchmarks.study.services.service import Answer, rater_name, tasks_by_axis
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json, write_text

PREFERENCE, TIE = "preference", "tie"


def write_projects(study: Study, url: str, out: Path) -> list[str]:
    """Write config.xml and tasks.json for each axis; lines that say what to do with them."""
    for name, axis, tasks in tasks_by_axis(study, url):
        (out / name).mkdir(parents=True)
        write_text(out / name / "config.xml", labelling_config(axis))
        data = [
            {
                "trial_id": task.trial_id,
                "slot": task.slot,
                "question": task.question,
                "left_image": task.left_url,
                "right_image": task.right_url,
                **({} if task.prompt is None else {"prompt": task.prompt}),
            }
            for task in tasks
        ]
        write_json(out / name / "tasks.json", [{"data": row} for row in data])
    return [
        f"{out}: a folder for each axis, in the order in which people should answer",
        "make a project of each: config.xml as labelling interface (code), tasks.json as data, one annotation a task",
        "give each person one slot (filter by slot); export as JSON; `study import --from label-studio`",
    ]


def labelling_config(axis: Axis) -> str:
    """The labelling interface of an axis."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$question")
    if axis.shows_prompt:
        ElementTree.SubElement(view, "Text", name="prompt", value="$prompt")
    grid = ElementTree.SubElement(view, "View", style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em")
    for side in ("left", "right"):
        ElementTree.SubElement(grid, "Image", name=side, value=f"${side}_image")
    ElementTree.SubElement(view, "Pairwise", name=PREFERENCE, toName="left,right")
    if axis.tie:
        choices = ElementTree.SubElement(view, "Choices", name=TIE, toName="left", choice="single", showInline="true")
        ElementTree.SubElement(choices, "Choice", value="tie")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of a JSON export. Raises UserError naming task and annotation for what is not in its shape."""
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise UserError(f"{path}: not a list of tasks; expected Label Studio's export as JSON")
    for number, task in enumerate(tasks, start=1):
        where = f"{path}, task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("annotations"), list):
            raise UserError(f"{where}: no annotations; expected Label Studio's export as JSON (not JSON-MIN)")
        data = task.get("data")
        if not isinstance(data, dict) or "trial_id" not in data:
            raise UserError(f"{where}: data has no trial_id; expected tasks of `study export`")
        for i, annotation in enumerate(task["annotations"], start=1):
            if not isinstance(annotation, dict):
                raise UserError(f"{where}, annotation {i}: not an object")
            if not annotation.get("was_cancelled"):
                yield _answer(annotation, data["trial_id"], f"{where}, annotation {i}")


def _answer(annotation: dict[str, Any], trial_id: object, where: str) -> Answer:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(
        isinstance(r, dict) and isinstance(r.get("value"), dict) for r in results
    ):
        raise UserError(f"{where}: result is no list of regions with values")
    # Not told apart by to_name: the editor and the SDK write different ones for a Pairwise.
    found: list[object] = [r["value"].get("selected") for r in results if r.get("from_name") == PREFERENCE]
    for region in results:
        if region.get("from_name") == TIE:
            picked = region["value"].get("choices")
            found += picked if isinstance(picked, list) else [picked]
    if len(found) > 1:
        raise UserError(f"{where}: {len(found)} answers, {', '.join(map(repr, found))[:80]}; expected one")
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, dict) else who
    if not isinstance(who, int | str) or who == "":
        raise UserError(f"{where}: completed_by = {who!r}: expected the annotator's id")
    shown_at, answered_at = _times(annotation, where)
    name = f"ls-{who}" if isinstance(who, int) else rater_name(who)
    return Answer(where, trial_id, found[0] if found else None, name, shown_at, answered_at)


def _times(annotation: dict[str, Any], where: str) -> tuple[str, str]:
    """Shown and answered: `created_at`, and `lead_time` seconds before it where that is known."""
    created, lead_time = annotation.get("created_at"), annotation.get("lead_time")
    try:
        answered = datetime.fromisoformat(created)  # type: ignore[arg-type]
        shown = answered - timedelta(seconds=0 if lead_time is None else lead_time)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{where}: created_at = {created!r}, lead_time = {lead_time!r}: expected a time and seconds"
        ) from error
    return shown.isoformat(), answered.isoformat()
