"""Public sets: read from whatever file, and how near a prompt comes to them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.densprompts.decontaminate import leakage, nearest, read_public_sets
from llm4gen_data.errors import UserError

THEIRS = "A red cup stands to the left of a blue vase on a table."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "LICENSE").write_text("not prompts")
    (tmp_path / "a.txt").write_text(f"{THEIRS}\ntwo dogs\n")
    (tmp_path / "b.tsv").write_text(f'Category\tPrompt\nx\t{THEIRS}\ny\tthree "cats"\n')
    (tmp_path / "c.csv").write_text('id,caption\n1,"one, and two"\n2,\n')
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": 7, "prompt": "a bench"}) + "\n")
    pq.write_table(pa.table({"prompt": ["a cow"]}), tmp_path / "deep" / "e.parquet")
    return tmp_path


def test_a_folder_is_read_at_any_depth(folder: Path) -> None:
    sets = {public.name: public.prompts for public in read_public_sets([folder])}
    assert sets == {
        "a.txt": (THEIRS, "two dogs"),
        "b.tsv": (THEIRS, 'three "cats"'),
        "c.csv": ("one, and two",),
        "d.jsonl": ("a bench",),
        "deep/e.parquet": ("a cow",),
    }
    assert [public.name for public in read_public_sets([folder / "d.jsonl"])] == ["d.jsonl"]


def test_leakage_names_the_nearest_and_counts_what_is_too_near(folder: Path) -> None:
    sets = read_public_sets([folder])
    far = "Nothing in this sentence has been seen in any other place before today."
    near = THEIRS.replace("on a table", "in a hall")
    quoting = f"{THEIRS} {far}"
    assert nearest(THEIRS, sets) == 1.0
    assert nearest(far, sets) == 0.0
    rows = {row["set"]: row for row in leakage([far, near, quoting], sets)}
    assert rows["a.txt"]["n_too_near"] == 2
    assert rows["a.txt"]["n_quoted"] == 1
    assert rows["a.txt"]["nearest"] == {"ours": near, "theirs": THEIRS}
    assert 0.2 < rows["a.txt"]["similarity_max"] < 1
    assert rows["c.csv"]["similarity_max"] == 0.0
    assert rows["c.csv"]["nearest"] is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"name,text_id\nx,1\n", "no column prompt or caption or text among name, text_id"),
        ("a.csv", b"", "among none"),
        ("a.csv", b"prompt\n\xff\xfe\n", "not a table of UTF-8"),
        ("a.csv", b"prompt\n\n", "holds no prompts"),
        ("a.jsonl", b"{}\n", "empty prompt"),
        ("a.parquet", b"no", "not a Parquet file"),
        ("LICENSE", b"x", "no file of prompts in this folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_public_sets([tmp_path])


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.txt: no such file"):
        read_public_sets([tmp_path / "gone.txt"])
