"""Answers from wherever they were given -> `votes.jsonl`, each held to the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.study.records import (
    Study,
    Trial,
    Vote,
    parse_vote,
    read_study,
    read_votes,
    sha256_of,
    trials_of,
    vote_line,
)
from benchmarks.study.services.prolific import finished_only
from benchmarks.study.services.service import IMPORTERS, Answer
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.registry import resolve
from llm4gen_data.runs import write_json, write_text

FORM = "form"  # our own page and server


def import_votes(
    source: str, files: Sequence[Path], folder: Path, out: Path, participants: Path | None = None
) -> list[str]:
    """Write the votes in `files` of the service `source` to `out`; lines on what was read.

    With `participants`, Prolific's demographic data, only the votes of those who finished, and `raters.json` beside
    `out`. The same vote twice, as when a download was sent twice, counts once. Raises UserError naming file and row
    for unknown trials, bad choices and times, and for two different votes of a rater on a trial; UsageError if `out`
    exists, since votes are given only once.
    """
    if out.exists():
        raise UsageError(f"--out {out}: exists; votes are not overwritten, give a new file")
    study = read_study(folder)
    n_empty = 0
    found: list[tuple[str, Vote]] = []
    if source == FORM:
        found = [(str(path), vote) for path in files for vote in read_votes(path, study)]
    else:
        read: Callable[[Path], Iterator[Answer]] = resolve("source of votes", source, IMPORTERS)
        trials = trials_of(study)
        for path in files:
            for answer in read(path):
                if answer.choice is None:
                    n_empty += 1
                else:
                    found.append((answer.where, _vote(answer, study, trials)))
    lines = [f"{n_empty} handed in without an answer: left out"] if n_empty else []
    if participants is not None:
        found, told, left_out = finished_only(found, participants)
        lines += left_out
        write_json(out.with_name("raters.json"), told)
    votes, n_again = _once(found)
    if not votes:
        raise UserError(f"{files[0]}: holds no votes of study {study.study_id}")
    write_text(out, "".join(map(vote_line, votes)))
    if n_again:
        lines.append(f"{n_again} votes there twice: counted once")
    n_raters = len({vote.rater_id for vote in votes})
    return [*lines, f"{len(votes)} votes of {n_raters} raters: {out}"]


def _vote(answer: Answer, study: Study, trials: Mapping[str, Trial]) -> Vote:
    trial = trials.get(answer.trial_id) if isinstance(answer.trial_id, str) else None
    if trial is None:
        raise UserError(
            f"{answer.where}: trial_id = {str(answer.trial_id)[:80]!r}: no such trial in study {study.study_id}"
        )
    row = {
        "study_id": study.study_id,
        "pair_id": trial.pair_id,
        "trial_id": trial.trial_id,
        "prompt_id": trial.prompt_id,
        "axis": trial.axis,
        "left_sha256": sha256_of(trial.left),
        "right_sha256": sha256_of(trial.right),
        "choice": answer.choice,
        "rater_id": answer.rater_id,
        "shown_at": answer.shown_at,
        "answered_at": answer.answered_at,
        "seed": study.seed,
        "form_version": study.form_version,
    }
    return parse_vote(row, study, trials, answer.where)


def _once(found: Sequence[tuple[str, Vote]]) -> tuple[list[Vote], int]:
    """Votes without repetition, and how many were repeated."""
    first: dict[tuple[str, str], tuple[str, Vote]] = {}
    n_again = 0
    for where, vote in found:
        before = first.setdefault((vote.rater_id, vote.trial_id), (where, vote))
        if before[1] != vote:
            raise UserError(
                f"{where}: rater {vote.rater_id!r} on trial {vote.trial_id}: {vote.choice}, "
                f"but {before[1].choice} in {before[0]}; expected one vote"
            )
        n_again += before[1] is not vote
    return [vote for _, vote in first.values()], n_again
