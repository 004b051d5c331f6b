"""What every service is given and gives back, and the tables of services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from benchmarks.study.records import RATER_ID, Axis, Study, slots_of
from llm4gen_data.errors import UsageError

EXPORTERS = {
    "label-studio": "benchmarks.study.services.label_studio:write_projects",
    "argilla": "benchmarks.study.services.argilla:write_datasets",
    "mturk": "benchmarks.study.services.mturk:write_batches",
    "prolific": "benchmarks.study.services.prolific:write_settings",
}
IMPORTERS = {
    "label-studio": "benchmarks.study.services.label_studio:read_answers",
    "argilla": "benchmarks.study.services.argilla:read_answers",
    "mturk": "benchmarks.study.services.mturk:read_answers",
}

# A rater stays anonymous to us where a service names them by what is no plain name, such as an e-mail address.
ADDRESS = re.compile(r".+@.+")


@dataclass(frozen=True, slots=True)
class Task:
    """One trial as a service shows it: `prompt` is None where the axis does not show it; pictures by URL."""

    trial_id: str
    slot: int
    question: str
    prompt: str | None
    left_url: str
    right_url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as a service tells it, unchecked; `where` names file and row. No `choice`: handed in unanswered.

    Times are ISO 8601; equal ones where the service keeps no time.
    """

    where: str
    trial_id: object
    choice: object
    rater_id: str
    shown_at: str
    answered_at: str


def tasks_by_axis(study: Study, images_url: str) -> list[tuple[str, Axis, list[Task]]]:
    """The tasks of each axis in the order of slots, with the name of a folder for them: 1-aesthetic, 2-semantic.

    Raises UsageError if `images_url` is no URL or path from a server's root.
    """
    check_url(images_url, "the pictures of images/")
    joint = "" if images_url.endswith(("/", "=")) else "/"
    slot_of = slots_of(study)
    found = []
    for number, axis in enumerate(study.axes, start=1):
        tasks = [
            Task(
                trial_id=trial.trial_id,
                slot=slot_of[trial.trial_id],
                question=axis.question,
                prompt=trial.prompt,
                left_url=f"{images_url}{joint}{trial.left}",
                right_url=f"{images_url}{joint}{trial.right}",
            )
            for slot in study.slots
            for trial in slot
            if trial.axis == axis.name
        ]
        found.append((f"{number}-{axis.name}", axis, tasks))
    return found


def check_url(url: str, what: str) -> None:
    """Raise UsageError unless `url` is http(s) or a path from a server's root."""
    parts = urlsplit(url)
    if not ((parts.scheme in ("http", "https") and parts.netloc) or url.startswith("/")) or not url.isprintable():
        raise UsageError(f"--url {url!r}: expected the address of {what}, such as https://example.org/study")


def rater_name(text: str) -> str:
    """`text` where it is a rater's plain name, else a name made of its sha256; e-mail addresses are never kept."""
    if RATER_ID.fullmatch(text) and not ADDRESS.fullmatch(text):
        return text
    return f"x{sha256(text.encode()).hexdigest()[:16]}"


def choices_of(axis: Axis) -> Iterator[tuple[str, str]]:
    """The choices of an axis, each with what a rater reads."""
    yield "left", "Left"
    yield "right", "Right"
    if axis.tie:
        yield "tie", "No difference"
