import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study.records import Axis, Study, Trial, parse_vote, read_study, read_votes, trials_of
from llm4gen_data.errors import UserError
from tests.studies import vote_row, write_rows

A, B = "a" * 64, "b" * 64
TRIALS = (
    Trial("s0000t0000", "pair-1", "aesthetic", "p1", None, f"{A}.png", f"{B}.png"),
    Trial("s0000t0001", "pair-1", "semantic", "p1", "a cat", f"{B}.png", f"{A}.png"),
)
AXES = (Axis("aesthetic", "Better?", False, tie=False), Axis("semantic", "Fits?", True))
STUDY = Study("study-1", "Title", 1, 7, AXES, 64, 64, "CODE", (TRIALS,))


def test_votes_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [vote_row(STUDY, TRIALS[0], "ann", "left", 3.5), vote_row(STUDY, TRIALS[1], "ann", "tie")]
    votes = read_votes(write_rows(tmp_path / "votes.jsonl", rows), STUDY)
    assert [(vote.trial_id, vote.choice, vote.seconds) for vote in votes] == [
        ("s0000t0000", "left", 3.5),
        ("s0000t0001", "tie", 2.0),
    ]


def download(rows: list[dict[str, Any]]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    last = {"n_votes": len(rows), "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    return lines + json.dumps(last) + "\n"


def test_downloads_joined_into_one_file_are_checked_one_by_one(tmp_path: Path) -> None:
    both = [download([vote_row(STUDY, trial, rater) for trial in TRIALS]) for rater in ("ann", "bob")]
    (tmp_path / "votes.jsonl").write_text("".join(both))
    assert len(read_votes(tmp_path / "votes.jsonl", STUDY)) == 4
    changed = both[1].replace('"choice": "left"', '"choice": "right"', 1)
    (tmp_path / "votes.jsonl").write_text(both[0] + changed)
    with pytest.raises(UserError, match=r"votes.jsonl, line 6: .*count and sha256"):
        read_votes(tmp_path / "votes.jsonl", STUDY)
    (tmp_path / "votes.jsonl").write_text(both[0].split("\n", 1)[1])
    with pytest.raises(UserError, match=r"line 2: .*count and sha256"):
        read_votes(tmp_path / "votes.jsonl", STUDY)


BAD: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("study_id = 'other': expected 'study-1'", lambda row: row | {"study_id": "other"}),
    ("trial_id = 's9999t0000': no such trial", lambda row: row | {"trial_id": "s9999t0000"}),
    ("pair_id = 'x': expected 'pair-1'", lambda row: row | {"pair_id": "x"}),
    ("axis = 'semantic': expected 'aesthetic'", lambda row: row | {"axis": "semantic"}),
    ("left_sha256", lambda row: row | {"left_sha256": B}),
    ("choice = 'tie': expected left, right", lambda row: row | {"choice": "tie"}),
    ("rater_id = '': expected", lambda row: row | {"rater_id": ""}),
    ("rater_id", lambda row: row | {"rater_id": "a" * 65}),
    ("seed = '7': expected int", lambda row: row | {"seed": "7"}),
    ("form_version = 2: expected 1", lambda row: row | {"form_version": 2}),
    ("shown_at = 'noon': expected a time", lambda row: row | {"shown_at": "noon"}),
    ("shown_at = '2026-01-31T12:00:00': expected a time", lambda row: row | {"shown_at": "2026-01-31T12:00:00"}),
    ("before it was shown", lambda row: row | {"answered_at": "2026-01-31T11:00:00Z"}),
    ("'extra' missing or unknown", lambda row: row | {"extra": 1}),
    ("'seed' missing or unknown", lambda row: {name: row[name] for name in row if name != "seed"}),
    ("not a vote: list", lambda row: [row]),
]


@pytest.mark.parametrize(("told", "spoil"), BAD, ids=[told[:25] for told, _ in BAD])
def test_each_fault_is_one_line_that_names_the_place(told: str, spoil: Callable[[Any], Any], tmp_path: Path) -> None:
    rows = [vote_row(STUDY, TRIALS[1], "ann"), spoil(vote_row(STUDY, TRIALS[0], "ann"))]
    path = write_rows(tmp_path / "votes.jsonl", rows)
    with pytest.raises(UserError) as caught:
        read_votes(path, STUDY)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert told in str(caught.value)


def test_a_second_vote_and_a_cut_line_are_refused(tmp_path: Path) -> None:
    row = vote_row(STUDY, TRIALS[1], "ann")
    with pytest.raises(UserError, match=r"line 2: rater 'ann' voted on trial s0000t0001 before, in line 1"):
        read_votes(write_rows(tmp_path / "a.jsonl", [row, row | {"choice": "right"}]), STUDY)
    (tmp_path / "b.jsonl").write_text(json.dumps(row)[:-20])
    with pytest.raises(UserError, match=r"line 1: not JSON"):
        read_votes(tmp_path / "b.jsonl", STUDY)
    (tmp_path / "c.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no votes"):
        read_votes(tmp_path / "c.jsonl", STUDY)
    with pytest.raises(UserError, match="No such file"):
        read_votes(tmp_path / "d.jsonl", STUDY)


def test_a_folder_that_is_no_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study.json: no such file; expected a folder that"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text('{"study_id": "x"}')
    with pytest.raises(UserError, match=r"study.json: title = .*Field required"):
        read_study(tmp_path)


def test_whatever_stands_in_a_line_only_usererror_comes_out() -> None:
    trials = trials_of(STUDY)
    values: list[Any] = [None, 1, "x", [], {}, {"n": 1}, {1: 2}]
    for value in (*values, {name: [] for name in vote_row(STUDY, TRIALS[0], "a")}):
        with pytest.raises(UserError):
            parse_vote(value, STUDY, trials, "here")
