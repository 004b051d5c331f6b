"""Amazon Mechanical Turk: for each axis a CSV of tasks and the HTML of a HIT; the results of a batch back.

A HIT is one trial. Whole slots are better served by the page of `study form` on a static host, which reads workerId
and assignmentId and ends with a code.
https://docs.aws.amazon.com/AWSMechTurk/latest/RequesterUI/ReviewingResultsOutsideoftheRUI.html
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.report.tables import csv_text
from benchmarks.study.records import Study
from benchmarks.study.services.service import Answer, choices_of, rater_name, tasks_by_axis
from llm4gen_data.errors import UserError
from llm4gen_data.runs import write_text

NEEDED = ("WorkerId", "AssignmentId", "AssignmentStatus", "SubmitTime", "WorkTimeInSeconds", "Input.trial_id")
ANSWER = "Answer.choice"
# The requester's page writes US Pacific time by name, which strptime does not read.
ZONES = {"PST": "-0800", "PDT": "-0700", "UTC": "+0000", "GMT": "+0000"}


def write_batches(study: Study, url: str, out: Path) -> list[str]:
    """Write hit.html and tasks.csv for each axis; lines that say what to do with them."""
    environment = Environment(
        loader=PackageLoader("benchmarks.study", "services"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("mturk_hit.html.jinja")
    for name, axis, tasks in tasks_by_axis(study, url):
        (out / name).mkdir(parents=True)
        rows = [{key: value for key, value in asdict(task).items() if value is not None} for task in tasks]
        write_text(out / name / "tasks.csv", csv_text(rows))
        write_text(out / name / "hit.html", template.render(axis=axis, choices=list(choices_of(axis))))
    return [
        f"{out}: a folder for each axis, in the order in which people should answer",
        "make a project of each: hit.html as its layout; publish a batch with tasks.csv, one assignment a HIT",
        "a worker does as many HITs as they like: make the study with --set exclude.min_completed_share=0",
        "download the results as CSV; `study import --from mturk`",
    ]


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of a batch's results, rejected ones left out. Raises UserError naming the line of what is not so."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            absent = [name for name in NEEDED if name not in columns]
            if not any(name == ANSWER or name.startswith(f"{ANSWER}.") for name in columns):
                absent.append(ANSWER)
            if absent:
                raise UserError(f"{path}: no column {', '.join(absent)}; expected the results of a batch as CSV")
            for row in reader:
                if (row["AssignmentStatus"] or "").strip() != "Rejected":
                    yield _answer(row, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error


def _answer(row: Mapping[str, str | None], where: str) -> Answer:
    worker = (row["WorkerId"] or "").strip()
    if not worker:
        raise UserError(f"{where}: WorkerId is empty")
    submitted, seconds = row["SubmitTime"] or "", row["WorkTimeInSeconds"] or ""
    try:
        answered = _time(submitted)
        shown = answered - timedelta(seconds=float(seconds))
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{where}: SubmitTime {submitted!r}, WorkTimeInSeconds {seconds!r}: expected a time and seconds"
        ) from error
    times = (shown.isoformat(), answered.isoformat())
    return Answer(where, row["Input.trial_id"], _choice(row, where), rater_name(worker), *times)


def _choice(row: Mapping[str, str | None], where: str) -> str | None:
    """The value of the radio buttons; a crowd-form writes them as a column each, true or false."""
    if row.get(ANSWER):
        return row[ANSWER]
    prefix = f"{ANSWER}."
    picked = [name.removeprefix(prefix) for name in row if name and name.startswith(prefix) and _is_true(row[name])]
    if len(picked) > 1:
        raise UserError(f"{where}: {len(picked)} answers, {', '.join(picked)[:80]}; expected one")
    return picked[0] if picked else None


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() == "true"


def _time(text: str) -> datetime:
    """ISO 8601 with offset, or "Mon Jan 05 09:00:10 PST 2026"."""
    match = re.fullmatch(r"(\w{3} \w{3} \d{1,2} [\d:]{8}) (\w{3}) (\d{4})", text.strip())
    if match and match[2] in ZONES:
        return datetime.strptime(f"{match[1]} {ZONES[match[2]]} {match[3]}", "%a %b %d %H:%M:%S %z %Y")
    return datetime.fromisoformat(text.strip())
