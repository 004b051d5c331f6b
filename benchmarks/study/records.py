"""What the stages of a human study hand to each other, and the files they stand in.

A study directory keeps what raters may see apart from what they may not, in the order in which it is opened:
`study.json` and `images/` (raters), `checks.json` (gold, repeats, exclusion rules: opened to exclude raters; names no
model), `key.json` (which picture is whose: opened last).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json

FORM_VERSION = 1
Side = Literal["left", "right"]
Choice = Literal["left", "right", "tie"]
RATER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")  # what the form and the server take as a rater's name
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Axis:
    """One question that raters answer on each pair; with `tie` they may say that neither is better."""

    name: str
    question: str
    shows_prompt: bool
    tie: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """One decision of one rater slot; `left` and `right` are file names in `images/`, the sha256 and a suffix.

    `prompt` is None where the axis does not show it. Nothing here tells gold pairs or repeats from others; a repeat
    has the `pair_id` of the trial that it repeats.
    """

    trial_id: str
    pair_id: str
    axis: str
    prompt_id: str
    prompt: str | None
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Study:
    """What raters may see, `study.json`: `slots[i]` are the trials of the i-th rater, in their order."""

    study_id: str
    title: str
    form_version: int
    seed: int
    axes: tuple[Axis, ...]
    width_px: int
    height_px: int
    completion_code: str
    slots: tuple[tuple[Trial, ...], ...]


@dataclass(frozen=True, slots=True)
class ExclusionRules:
    """Which raters are left out, fixed when the study is made; each rule excludes on its own.

    Over all of a rater's votes: median seconds from shown to answered below `min_median_seconds`; more than
    `max_gold_miss_share` of the gold trials answered not gold (a tie is a miss); at least `min_side_votes` votes
    that are not ties and more than `max_side_share` of them on one side; fewer than `min_completed_share` of the
    slot's trials answered.
    """

    min_median_seconds: float = 1.0
    max_gold_miss_share: float = 0.34
    max_side_share: float = 0.85
    min_side_votes: int = 12
    min_completed_share: float = 0.8


@dataclass(frozen=True, slots=True)
class Checks:
    """`checks.json`: trial -> its right side for gold trials, trial -> the trial it repeats with sides swapped."""

    study_id: str
    rules: ExclusionRules
    gold: dict[str, Side]
    repeats: dict[str, str]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Whose pictures a pair shows: `models` is sha256 -> model, both sides; gold pairs have no entry in the key."""

    prompt_id: str
    category: str
    seed: int
    sample_index: int
    models: dict[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    """`key.json`: pair_id -> whose pictures; `models` in the order they were given, the first is the reference."""

    study_id: str
    models: tuple[str, ...]
    pairs: dict[str, KeyPair]


@dataclass(frozen=True, slots=True)
class Vote:
    """One answer, one line of `votes.jsonl`; times are ISO 8601 with offset, sides named by sha256 of the file."""

    study_id: str
    pair_id: str
    trial_id: str
    prompt_id: str
    axis: str
    left_sha256: str
    right_sha256: str
    choice: Choice
    rater_id: str
    shown_at: str
    answered_at: str
    seed: int
    form_version: int

    @property
    def seconds(self) -> float:
        """From shown to answered."""
        return (datetime.fromisoformat(self.answered_at) - datetime.fromisoformat(self.shown_at)).total_seconds()


def read_study(folder: Path) -> Study:
    """`study.json` of a study directory. Raises UserError if it is missing or not one."""
    return _read(folder / "study.json", Study)


def read_checks(folder: Path) -> Checks:
    """`checks.json` of a study directory. Raises UserError if it is missing or not one."""
    return _read(folder / "checks.json", Checks)


def read_key(folder: Path) -> Key:
    """`key.json` of a study directory: unblinds. Raises UserError if it is missing or not one."""
    return _read(folder / "key.json", Key)


def trials_of(study: Study) -> dict[str, Trial]:
    """Every trial by its id."""
    return {trial.trial_id: trial for slot in study.slots for trial in slot}


def slots_of(study: Study) -> dict[str, int]:
    """The slot of each trial id."""
    return {trial.trial_id: number for number, slot in enumerate(study.slots) for trial in slot}


def sha256_of(file_name: str) -> str:
    """The sha256 that a picture's file name in a trial is made of."""
    return file_name.partition(".")[0]


def vote_line(vote: Vote) -> str:
    """The vote as it stands in `votes.jsonl`, with its line end."""
    return json.dumps(asdict(vote), ensure_ascii=False, separators=(",", ":")) + "\n"


def parse_vote(row: Any, study: Study, trials: Mapping[str, Trial], where: str) -> Vote:
    """A vote from a decoded line, held to the study; `trials` is `trials_of(study)`.

    Raises UserError that begins with `where` and names the key, its value and what was expected.
    """
    names = [field.name for field in fields(Vote)]
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a vote: {type(row).__name__}, expected a JSON object")
    if odd := sorted(map(str, set(names) ^ set(row))):
        raise UserError(f"{where}: not a vote: {_short(odd)[1:-1]} missing or unknown")
    for name in names:
        kind = int if name in ("seed", "form_version") else str
        if type(row[name]) is not kind:
            raise UserError(f"{where}: {name} = {_short(row[name])}: expected {kind.__name__}")
    trial = trials.get(row["trial_id"])
    if trial is None:
        raise UserError(f"{where}: trial_id = {_short(row['trial_id'])}: no such trial in study {study.study_id}")
    expected = {
        "study_id": study.study_id,
        "form_version": study.form_version,
        "seed": study.seed,
        "pair_id": trial.pair_id,
        "prompt_id": trial.prompt_id,
        "axis": trial.axis,
        "left_sha256": sha256_of(trial.left),
        "right_sha256": sha256_of(trial.right),
    }
    for name, value in expected.items():
        if row[name] != value:
            raise UserError(f"{where}: {name} = {_short(row[name])}: expected {value!r} for trial {trial.trial_id}")
    axis = next(axis for axis in study.axes if axis.name == trial.axis)
    choices = get_args(Choice) if axis.tie else get_args(Side)
    if row["choice"] not in choices:
        raise UserError(f"{where}: choice = {_short(row['choice'])}: expected {', '.join(choices)}")
    if not RATER_ID.fullmatch(row["rater_id"]):
        raise UserError(f"{where}: rater_id = {_short(row['rater_id'])}: expected at most 64 of A-Z a-z 0-9 _ . @ -")
    times = [_time(row[name], f"{where}: {name}") for name in ("shown_at", "answered_at")]
    if times[1] < times[0]:
        raise UserError(f"{where}: answered_at = {row['answered_at']}: before it was shown")
    return Vote(**row)


def read_votes(path: Path, study: Study) -> list[Vote]:
    """The votes of a file, downloaded from the form (or several such files joined) or written by `study serve`.

    Raises UserError naming file and line for a line that is no vote of this study, a rater's second vote on a trial,
    and a download whose count or sha256 does not hold.
    """
    trials = trials_of(study)
    votes: list[Vote] = []
    line_of: dict[tuple[str, str], int] = {}
    digest, n_since = hashlib.sha256(), 0
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON; was it cut off?") from error
        if isinstance(row, dict) and "n_votes" in row:
            if row.get("n_votes") != n_since or row.get("sha256") != digest.hexdigest():
                raise UserError(
                    f"{where}: the lines before do not have the count and sha256 that the download states; "
                    "changed or cut since, download it again"
                )
            digest, n_since = hashlib.sha256(), 0
            continue
        vote = parse_vote(row, study, trials, where)
        first = line_of.setdefault((vote.rater_id, vote.trial_id), number)
        if first != number:
            raise UserError(f"{where}: rater {vote.rater_id!r} voted on trial {vote.trial_id} before, in line {first}")
        digest.update(line)
        n_since += 1
        votes.append(vote)
    if not votes:
        raise UserError(f"{path}: holds no votes")
    return votes


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with number and line end."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path, cls: type[T]) -> T:
    from pydantic import TypeAdapter, ValidationError

    if not path.exists():
        raise UserError(f"{path}: no such file; expected a folder that `llm4gen-bench study make` wrote")
    try:
        return TypeAdapter(cls).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {key} = {_short(first['input'])}: {first['msg']}") from error


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min
    if time.tzinfo is None:
        raise UserError(f"{where} = {_short(text)}: expected a time like 2026-01-31T12:00:00.000Z")
    return time


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
