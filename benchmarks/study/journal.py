"""Votes on disk: appended, on the disk before they are acknowledged, each rater's vote on a trial once."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.study.records import RATER_ID, Study, Vote, parse_vote, slots_of, trials_of, vote_line
from llm4gen_data.errors import UserError
from llm4gen_data.runs import fsync_folder


class VoteJournal:
    """The votes and raters of a study that is being served, in `votes.jsonl` and `raters.jsonl` of its folder.

    A line that a killed process left unfinished was never acknowledged and is cut off at start. Raises UserError for
    lines that are no votes of this study, and while another process serves it.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.study = study
        self.trials = trials_of(study)
        self.slot_of_trial = slots_of(study)
        self.slots: dict[str, int] = {}
        self.votes: dict[tuple[str, str], Vote] = {}
        self._durable: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._waiting: list[tuple[BinaryIO, bytes, tuple[str, str]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._raters_file = _open_locked(folder / "raters.jsonl")
        self._votes_file = _open_locked(folder / "votes.jsonl")
        fsync_folder(folder)
        for where, row in _rows(self._raters_file, folder / "raters.jsonl"):
            if not isinstance(row, dict) or not isinstance(row.get("slot"), int) or "rater_id" not in row:
                raise UserError(f"{where}: expected rater_id and slot")
            self.slots[row["rater_id"]] = row["slot"]
        for where, row in _rows(self._votes_file, folder / "votes.jsonl"):
            vote = parse_vote(row, study, self.trials, where)
            self.votes[vote.rater_id, vote.trial_id] = vote

    async def slot(self, rater_id: Any) -> int:
        """The rater's slot, at first the free one with the lowest number, then one that fewest have."""
        if not isinstance(rater_id, str) or not RATER_ID.fullmatch(rater_id):
            raise UserError("rater_id: expected at most 64 of A-Z a-z 0-9 _ . @ -")
        if rater_id not in self.slots:
            taken = list(self.slots.values())
            self.slots[rater_id] = min(range(len(self.study.slots)), key=lambda slot: (taken.count(slot), slot))
            line = json.dumps({"rater_id": rater_id, "slot": self.slots[rater_id]}) + "\n"
            self._append((rater_id, ""), self._raters_file, line)
        await self._wait((rater_id, ""))
        return self.slots[rater_id]

    async def add(self, row: Any) -> bool:
        """Store a decoded vote; False if the rater voted on this trial before and this is another answer.

        Returns when the vote that counts is on the disk. Raises UserError for what is no vote of the rater's slot.
        """
        vote = parse_vote(row, self.study, self.trials, "vote")
        if self.slots.get(vote.rater_id) != self.slot_of_trial[vote.trial_id]:
            raise UserError(f"vote: trial {vote.trial_id} is not one of rater {vote.rater_id!r}")
        key = (vote.rater_id, vote.trial_id)
        if key not in self.votes:
            self.votes[key] = vote
            self._append(key, self._votes_file, vote_line(vote))
        await self._wait(key)
        return self.votes[key] == vote

    def votes_of(self, rater_id: str) -> list[dict[str, Any]]:
        """The rater's votes that are on the disk, in the order of the trials."""
        trials = self.study.slots[self.slots[rater_id]]
        keys = ((rater_id, trial.trial_id) for trial in trials)
        return [asdict(self.votes[key]) for key in keys if key in self.votes and key not in self._durable]

    def _append(self, key: tuple[str, str], file: BinaryIO, line: str) -> None:
        self._durable[key] = asyncio.get_running_loop().create_future()
        self._waiting.append((file, line.encode(), key))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def _wait(self, key: tuple[str, str]) -> None:
        if key in self._durable:
            await asyncio.shield(self._durable[key])  # others may wait for it when this request is broken off

    async def _write(self) -> None:
        """Everything that came in during the last fsync shares the next one."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(_append_durably, [(file, line) for file, line, _ in batch])
            except OSError as error:
                # What reached the disk is not known, so nothing more may be acknowledged; a restart finds out.
                os.write(2, f"Error: votes cannot be written: {error.strerror}\n".encode())
                os._exit(1)
            for _, _, key in batch:
                self._durable.pop(key).set_result(None)


def _append_durably(lines: list[tuple[BinaryIO, bytes]]) -> None:
    for file in {file for file, _ in lines}:
        file.write(b"".join(line for other, line in lines if other is file))
        file.flush()
        os.fsync(file.fileno())


def _open_locked(path: Path) -> BinaryIO:
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{path}: another process serves this study") from error
    return file


def _rows(file: BinaryIO, path: Path) -> list[tuple[str, Any]]:
    """Decoded lines with their place; cuts off an unfinished last one."""
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    file.truncate(whole)
    rows = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            rows.append((f"{path}, line {number}", json.loads(line)))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON") from error
    return rows
