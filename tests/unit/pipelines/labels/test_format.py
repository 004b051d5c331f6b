from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from pipelines.labels.format import HEADER, LabelledObject, Labels, blank_lines, read_labels

NUMBERS = ("001", "002", "003", "004")


def read(tmp_path: Path, text: str) -> Labels:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, NUMBERS)


def test_a_line_holds_objects_in_any_order_of_words(tmp_path: Path) -> None:
    text = (
        "# the first sheet\n001: small red striped circle @ 20,31; unclear @ 44.5,10\n\n002: none # a remark\n"
        "003:\n004: star large solid ?color @ 0 , 64;\n"
    )
    labels = read(tmp_path, text)
    assert labels["001"] == (
        LabelledObject("small", "red", "striped", "circle", 20, 31),
        LabelledObject(None, None, None, None, 44.5, 10),
    )
    assert [o.is_unclear for o in labels["001"]] == [False, True]
    assert (labels["002"], labels["003"]) == ((), None)
    assert labels["004"] == (LabelledObject("large", None, "solid", "star", 0, 64),)


def test_what_is_to_be_filled_in_reads_as_not_labelled(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER + blank_lines(NUMBERS)) == dict.fromkeys(NUMBERS)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seventeen: none", "expected 'NUMBER: OBJECT; OBJECT ...', 'NUMBER: none' or 'NUMBER:'"),
        ("005: none", "picture 005 is not in pictures.csv"),
        ("001: none\n001:", "picture 001 is there twice"),
        ("001: small red solid circle", "expected 'OBJECT @ x,y'"),
        ("001: small red solid circle @ 20", "expected 'OBJECT @ x,y'"),
        ("001: small red solid circle @ 20,65", "expected x and y from 0 to 64"),
        ("001: smal red solid circle @ 20,31", "'smal' in .*: expected one of small, large, .size, red"),
        ("001: small red blue circle @ 20,31", "two words for the color"),
        ("001: red circle @ 20,31", r"expected as well size \(or \?size\), texture \(or \?texture\)"),
        ("001: unclear @ 1,2; none", "'none': expected 'OBJECT @ x,y'"),
    ],
)
def test_what_is_no_label_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    number = 2 + line.count("\n")
    with pytest.raises(UserError, match=rf"labels\.txt, line {number}: .*{told}"):
        read(tmp_path, "# sheet 1\n" + line)
