"""Argilla 2: a dataset an axis, of settings.json and records.json as its SDK writes and reads them; records back.

Argilla keeps no time of an answer, so a rule on time cannot be applied to its raters.
https://docs.argilla.io/latest/reference/argilla/settings/settings, .../reference/argilla/records/records
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.study.records import Axis, Study
from benchmarks.study.services.service import Answer, choices_of, rater_name, tasks_by_axis
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json

PREFERENCE = "preference"
NO_TIME = "1970-01-01T00:00:00+00:00"


def write_datasets(study: Study, url: str, out: Path) -> list[str]:
    """Write settings.json and records.json for each axis; lines that say what to do with them."""
    for name, axis, tasks in tasks_by_axis(study, url):
        (out / name).mkdir(parents=True)
        write_json(out / name / "settings.json", settings(axis))
        records = [
            {
                "id": task.trial_id,
                "fields": {
                    **({} if task.prompt is None else {"prompt": task.prompt}),
                    **{"left": task.left_url, "right": task.right_url},
                },
                "metadata": {"slot": str(task.slot)},
            }
            for task in tasks
        ]
        write_json(out / name / "records.json", records)
    return [
        f"{out}: a folder for each axis, in the order in which people should answer",
        'in Python: dataset = rg.Dataset(name=..., settings=rg.Settings.from_json("1-.../settings.json")); '
        'dataset.create(); dataset.records.from_json("1-.../records.json")',
        "give each person one slot (filter by the metadata slot)",
        'back: dataset.records.to_json("answers.json"); `study import --from argilla`',
    ]


def settings(axis: Axis) -> dict[str, Any]:
    """What `rg.Settings.from_json` reads: fields, one label question, the slot as metadata, one answer a record."""
    texts = [_field("prompt", {"type": "text", "use_markdown": False})] if axis.shows_prompt else []
    options = [{"value": value, "text": text} for value, text in choices_of(axis)]
    return {
        "guidelines": axis.question,
        "fields": [*texts, *(_field(side, {"type": "image"}) for side in ("left", "right"))],
        "questions": [
            {
                "name": PREFERENCE,
                "title": axis.question,
                "description": None,
                "required": True,
                "settings": {"type": "label_selection", "options": options, "visible_options": len(options)},
            }
        ],
        "metadata": [{"name": "slot", "title": "slot", "settings": {"type": "terms"}, "visible_for_annotators": True}],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of `dataset.records.to_json`. Raises UserError naming record and answer for any other shape."""
    records = read_json(path)
    if not isinstance(records, list):
        raise UserError(f"{path}: not a list of records; expected what dataset.records.to_json writes")
    for number, record in enumerate(records, start=1):
        where = f"{path}, record {number}"
        responses = record.get("responses") if isinstance(record, dict) else None
        if not isinstance(responses, dict) or "id" not in record:
            raise UserError(f"{where}: no id or responses; expected what dataset.records.to_json writes")
        answers = responses.get(PREFERENCE, [])
        if not isinstance(answers, list):
            raise UserError(f"{where}: responses to {PREFERENCE} are no list")
        for i, answer in enumerate(answers, start=1):
            if not isinstance(answer, dict) or not isinstance(answer.get("user_id"), str):
                raise UserError(f"{where}, answer {i}: no user_id")
            yield Answer(
                f"{where}, answer {i}",
                record["id"],
                answer.get("value"),
                rater_name(answer["user_id"]),
                NO_TIME,
                NO_TIME,
            )


def _field(name: str, kind: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": name, "required": True, "settings": kind}
