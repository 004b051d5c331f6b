from pathlib import Path

import pytest

from benchmarks.journal import ScoreJournal
from benchmarks.records import Score

Scores = dict[int, dict[str, list[Score]]]
FIRST: Scores = {0: {"m": [Score("a", 0.1 + 0.2, 'why "é"'), Score("b", None, error_message="broken")]}}
SECOND: Scores = {1: {"m": [Score("a", 1.0, truncated=True)], "n": []}, 2: {"m": []}}
KEYS = {"m": "m-1", "n": "n-1"}


def written(path: Path) -> None:
    journal = ScoreJournal(path, KEYS)
    journal.append(FIRST)
    journal.append(SECOND)
    journal.close()


def held(path: Path, **keys: str) -> Scores:
    journal = ScoreJournal(path, keys or KEYS)
    return {number: scores for number in range(4) if (scores := journal.scores_of(number))}


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    written(tmp_path / "j")
    assert held(tmp_path / "j") == FIRST | SECOND
    assert [ScoreJournal(tmp_path / "j", KEYS).missing(number) for number in range(3)] == [["n"], [], ["n"]]


@pytest.mark.parametrize("n_lost_bytes", [1, 5, 40])
def test_a_torn_line_is_cut_off_and_can_be_redone(tmp_path: Path, n_lost_bytes: int) -> None:
    written(tmp_path / "j")
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-n_lost_bytes])
    journal = ScoreJournal(tmp_path / "j", KEYS)
    assert "m" not in journal.missing(0)
    assert "m" in journal.missing(2)
    journal.append({number: scores for number, scores in SECOND.items() if "m" in journal.missing(number)})
    journal.close()
    assert (tmp_path / "j").read_bytes() == whole


def test_a_flipped_bit_ends_what_is_believed(tmp_path: Path) -> None:
    written(tmp_path / "j")
    data = bytearray((tmp_path / "j").read_bytes())
    data[20] ^= 1
    (tmp_path / "j").write_bytes(data)
    assert held(tmp_path / "j") == {}


def test_a_metric_joins_later_and_another_one_of_the_same_name_is_not_mistaken_for_it(tmp_path: Path) -> None:
    written(tmp_path / "j")
    journal = ScoreJournal(tmp_path / "j", KEYS | {"o": "o-1"})
    assert journal.missing(1) == ["o"]
    journal.append({1: {"o": [Score("c", 2.0)]}})
    assert journal.scores_of(1) == SECOND[1] | {"o": [Score("c", 2.0)]}
    journal.close()
    assert held(tmp_path / "j", m="m-2") == {}
    assert held(tmp_path / "j", o="o-1") == {1: {"o": [Score("c", 2.0)]}}
