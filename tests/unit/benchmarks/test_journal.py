from pathlib import Path

import pytest

from benchmarks.journal import ScoreJournal
from benchmarks.records import Score

Scores = dict[int, dict[str, list[Score]]]
FIRST: Scores = {0: {"m": [Score("a", 0.1 + 0.2, 'why "é"'), Score("b", None, error_message="broken")]}}
SECOND: Scores = {1: {"m": [Score("a", 1.0, truncated=True)], "n": []}, 2: {"m": []}}


def written(path: Path) -> None:
    journal = ScoreJournal(path)
    journal.append(FIRST)
    journal.append(SECOND)
    journal.close()


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    written(tmp_path / "j")
    assert ScoreJournal(tmp_path / "j").scores == FIRST | SECOND


@pytest.mark.parametrize("n_lost_bytes", [1, 5, 40])
def test_a_torn_line_is_cut_off_and_can_be_redone(tmp_path: Path, n_lost_bytes: int) -> None:
    written(tmp_path / "j")
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-n_lost_bytes])
    journal = ScoreJournal(tmp_path / "j")
    assert set(journal.scores) == {0, 1} or set(journal.scores) == {0}
    journal.append({number: scores for number, scores in SECOND.items() if number not in journal.scores})
    journal.close()
    assert (tmp_path / "j").read_bytes() == whole


def test_a_flipped_bit_ends_what_is_believed(tmp_path: Path) -> None:
    written(tmp_path / "j")
    data = bytearray((tmp_path / "j").read_bytes())
    data[20] ^= 1
    (tmp_path / "j").write_bytes(data)
    assert ScoreJournal(tmp_path / "j").scores == {}
