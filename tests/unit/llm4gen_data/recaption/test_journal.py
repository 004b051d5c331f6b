from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.journal import Answer, Journal, Outcome, write_journal


def filled(path: Path, n: int) -> Journal:
    journal = Journal(path)
    for i in range(n):
        answers = {"paper": Answer(f"caption {i}\nwith é and \x00", "stop", i), "short": Answer("", "length", 0)}
        journal.append({i: Outcome("success", answers=answers, width=i, objects_named=["dog"], objects_denied=[])})
    journal.close()
    return journal


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 20)
    assert Journal(tmp_path / "j").outcomes == journal.outcomes


def test_a_journal_written_whole_is_the_same_journal(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 20)
    write_journal(tmp_path / "k", journal.outcomes)
    assert (tmp_path / "k").read_bytes() == (tmp_path / "j").read_bytes()


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j")
    first.append({0: Outcome("failed_image", "reason")})
    with pytest.raises(UserError, match="another process"):
        Journal(tmp_path / "j")
    first.close()
    assert set(Journal(tmp_path / "j").outcomes) == {0}


@given(cut=st.integers(0, 10_000), flip=st.integers(0, 10_000))
def test_any_torn_or_damaged_tail_costs_only_itself(tmp_path_factory: object, cut: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("journal")  # type: ignore[attr-defined]
    path = folder / "j"
    whole = filled(path, 12).outcomes
    data = bytearray(path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    data = data[: len(data) - cut % len(data)]
    position = flip % len(data)
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    survivors = Journal(path)
    n_sound = next(n for n in range(13) if len(b"".join(lines[: n + 1])) > position or n == 12)
    assert survivors.outcomes == {i: whole[i] for i in range(n_sound)}
    survivors.append({99: Outcome("failed_image", "reason")})
    survivors.close()
    again = Journal(path)
    again.close()
    assert again.outcomes == survivors.outcomes
    assert 99 in again.outcomes
