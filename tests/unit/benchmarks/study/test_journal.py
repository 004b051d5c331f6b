import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.study.journal import VoteJournal
from benchmarks.study.records import read_votes
from llm4gen_data.errors import UserError
from tests.studies import vote_row
from tests.unit.benchmarks.study.test_records import STUDY, TRIALS


def test_a_torn_last_line_is_cut_off_and_the_rest_is_known(tmp_path: Path) -> None:
    async def first() -> None:
        journal = VoteJournal(tmp_path, STUDY)
        assert await journal.slot("ann") == 0
        assert await journal.add(vote_row(STUDY, TRIALS[0], "ann"))

    async def second() -> None:
        journal = VoteJournal(tmp_path, STUDY)
        assert await journal.slot("ann") == 0
        assert not await journal.add(vote_row(STUDY, TRIALS[0], "ann", "right"))
        assert await journal.add(vote_row(STUDY, TRIALS[1], "ann", "tie"))

    asyncio.run(first())
    with (tmp_path / "votes.jsonl").open("a") as file:
        file.write(json.dumps(vote_row(STUDY, TRIALS[1], "ann"))[:200])
    asyncio.run(second())
    votes = read_votes(tmp_path / "votes.jsonl", STUDY)
    assert [vote.choice for vote in votes] == ["left", "tie"]
    assert len((tmp_path / "raters.jsonl").read_text().splitlines()) == 1


def test_the_same_vote_many_times_at_once_is_stored_once(tmp_path: Path) -> None:
    async def at_once() -> list[bool]:
        journal = VoteJournal(tmp_path, STUDY)
        await journal.slot("ann")
        row = vote_row(STUDY, TRIALS[0], "ann")
        return await asyncio.gather(*(journal.add(dict(row)) for _ in range(50)))

    assert all(asyncio.run(at_once()))
    assert len(read_votes(tmp_path / "votes.jsonl", STUDY)) == 1


def test_votes_of_another_study_are_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "votes.jsonl").write_text('{"study_id": "other"}\n')
    with pytest.raises(UserError, match=r"votes.jsonl, line 1: not a vote"):
        VoteJournal(tmp_path, STUDY)
