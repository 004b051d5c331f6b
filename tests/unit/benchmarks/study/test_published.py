from pathlib import Path

import pytest

from benchmarks.study.figure import bars, write_figure
from benchmarks.study.published import PAPER, read_published
from llm4gen_data.errors import UserError

HEADER = "axis,model,opponent,win,tie,lose,source\n"


def test_the_papers_figure_is_known() -> None:
    rows = read_published("paper")
    assert rows == list(PAPER)
    assert {(row.axis, row.opponent): row.win for row in rows} == {
        ("aesthetic", "SD1.5"): 83.3,
        ("semantic", "SD1.5"): 91.7,
        ("aesthetic", "SDXL"): 60.3,
        ("semantic", "SDXL"): 66.5,
        ("aesthetic", "DALL-E 3"): 50.6,
        ("semantic", "DALL-E 3"): 51.8,
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("semantic,ours,theirs,101,,,paper\n", "line 2: win '101': expected a percentage"),
        ("semantic,ours,theirs,,10,,paper\n", "line 2: win is empty"),
        ("semantic,ours,theirs,60,30,30,paper\n", "line 2: win, tie and lose add up to 120"),
        ("semantic,,theirs,60,,,paper\n", "line 2: model is empty"),
        ("semantic,ours,theirs,nan,,,paper\n", "line 2: win 'nan'"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "p.csv").write_text(HEADER + line, encoding="utf-8")
    with pytest.raises(UserError, match=r"p\.csv") as error:
        read_published(str(tmp_path / "p.csv"))
    assert expected in str(error.value)


def test_published_bars_stand_beside_ours_without_an_interval(tmp_path: Path) -> None:
    ours = {"axis": "semantic", "model": "base", "opponent": "new", "category": None, "ties": "half"}
    counts = {"n_wins": 10, "n_ties": 20, "n_losses": 70, "n_votes": 100}
    rates = {"win_rate": 0.2, "two_way_low": 0.1, "two_way_high": 0.3}
    (tmp_path / "p.csv").write_text(HEADER + "semantic,LLM4GEN,base,60,,,a paper\n", encoding="utf-8")
    drawn = bars([{**ours, **counts, **rates}], "new", read_published(str(tmp_path / "p.csv")))
    assert [bar["source"] for bar in drawn] == [None, "a paper"]
    assert [drawn[0][name] for name in ("win", "tie", "lose")] == [70, 20, 10]
    assert [drawn[0][name] for name in ("low", "rate", "high")] == pytest.approx([70, 80, 90])
    assert [drawn[1][name] for name in ("win", "tie", "lose", "low", "high")] == [60, 0, 40, None, None]
    for name in ("a.svg", "b.svg", "c.png"):
        write_figure([tmp_path / name], drawn)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
