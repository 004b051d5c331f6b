"""Prolific: what its form asks for, to send participants to the page of `study form`; its demographic export back.

https://researcher-help.prolific.com: participants come with PROLIFIC_PID, STUDY_ID and SESSION_ID in the address and
prove with a completion code that they finished.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.study.records import Study, Vote
from benchmarks.study.services.service import check_url, rater_name
from llm4gen_data.errors import UserError
from llm4gen_data.runs import write_json

PARAMETERS = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
FINISHED = ("APPROVED", "AWAITING REVIEW")
SECONDS_PER_VOTE = 8
# What may be told of participants together; Prolific writes a word in capitals where one took a consent back.
TOLD = ("Sex", "Country of residence", "Language", "Ethnicity simplified")
WITHHELD = ("CONSENT_REVOKED", "DATA_EXPIRED", "")


def write_settings(study: Study, url: str, out: Path) -> list[str]:
    """Write prolific.json, the fields of Prolific's form; lines that say what to do with them."""
    check_url(url, "the page that `study form` wrote, on a static host")
    out.mkdir(parents=True)
    joint = "&" if "?" in url else "?"
    seconds = SECONDS_PER_VOTE * mean(len(slot) for slot in study.slots)
    settings = {
        "name": study.title,
        "external_study_url": url + joint + "&".join(f"{name}={{{{%{name}%}}}}" for name in PARAMETERS),
        "prolific_id_option": "url_parameters",
        "completion_codes": [
            {"code": study.completion_code, "code_type": "COMPLETED", "actions": [{"action": "MANUALLY_REVIEW"}]}
        ],
        "completion_url": f"https://app.prolific.com/submissions/complete?cc={study.completion_code}",
        "total_available_places": len(study.slots),
        "estimated_completion_time": max(1, round(seconds / 60)),
        "device_compatibility": ["desktop", "tablet", "mobile"],
    }
    write_json(out / "prolific.json", settings)
    return [
        f"{out / 'prolific.json'}: what Prolific's form asks for",
        f"the time is estimated at {SECONDS_PER_VOTE} s a vote: try it yourself",
        "the page must reach you with the votes: `study serve`, or the download that participants send",
        "when it is over, download the demographic data; `study import --from form VOTES --participants FILE.csv`",
    ]


def finished_only(
    votes: Sequence[tuple[str, Vote]], participants: Path
) -> tuple[list[tuple[str, Vote]], dict[str, str], list[str]]:
    """The votes of those who finished, what is known of these people together, and a line on those left out.

    Raises UserError for a file that is no demographic export, and for a rater who is not in it.
    """
    status: dict[str, str] = {}
    people: dict[str, Mapping[str, str | None]] = {}
    for where, row in _rows(participants):
        rater_id = rater_name((row["Participant id"] or "").strip())
        if not row["Participant id"] or rater_id in status:
            raise UserError(f"{where}: Participant id {row['Participant id']!r}: empty, or there twice")
        status[rater_id], people[rater_id] = (row["Status"] or "").strip().upper(), row
    for where, vote in votes:
        if vote.rater_id not in status:
            raise UserError(f"{where}: rater {vote.rater_id!r} is not among the participants of {participants}")
    kept = [(where, vote) for where, vote in votes if status[vote.rater_id] in FINISHED]
    voted = dict.fromkeys(vote.rater_id for _, vote in kept)
    left_out = Counter(status[rater_id] for rater_id in dict.fromkeys(vote.rater_id for _, vote in votes))
    lines = [f"{n} raters left out: {name or 'no status'}" for name, n in left_out.items() if name not in FINISHED]
    return kept, _together([people[rater_id] for rater_id in voted]), lines


def _together(people: Sequence[Mapping[str, str | None]]) -> dict[str, str]:
    told: dict[str, str] = {"recruited by": "Prolific", "finished": str(len(people))}
    ages = [int(age) for person in people if (age := (person.get("Age") or "").strip()).isdecimal()]
    if ages:
        told["age"] = f"median {median(ages):g} ({min(ages)} to {max(ages)}; {len(people) - len(ages)} not told)"
    for column in TOLD:
        values = [value for person in people if (value := (person.get(column) or "").strip()) not in WITHHELD]
        if values:
            told[column.lower()] = ", ".join(f"{value} {n}" for value, n in Counter(values).most_common())
    return told


def _rows(path: Path) -> Iterator[tuple[str, dict[Any, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in ("Participant id", "Status") if name not in (reader.fieldnames or ())]
            if absent:
                raise UserError(f"{path}: no column {', '.join(absent)}; expected Prolific's demographic data as CSV")
            for row in reader:
                yield f"{path}, line {reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
