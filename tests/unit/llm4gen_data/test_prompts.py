"""`load_prompts`: every kind of file, the named sets, and one clear line for whatever is wrong."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.prompts import MAX_PROMPT_WORDS, load_prompts
from llm4gen_data.records import Prompt


def text_file(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_a_text_file_gives_a_prompt_a_line(tmp_path: Path) -> None:
    source = text_file(tmp_path, "p.txt", "a red cat", "two\x0cblue dogs ", "")
    assert load_prompts(source) == [
        Prompt("1", "a red cat", "all", 3, None),
        Prompt("2", "two\x0cblue dogs", "all", 3, None),
    ]


def test_jsonl_and_parquet_rows_keep_their_columns(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "a", "prompt": "a red cat", "category": "animals", "spec": '{"k": 1}', "n_words": 99, "x": 1},
        {"prompt_id": "b", "prompt": "a blue dog", "category": None, "spec": None, "n_words": 99, "x": 2},
    ]
    wanted = [Prompt("a", "a red cat", "animals", 3, '{"k": 1}'), Prompt("b", "a blue dog", "all", 3, None)]
    assert load_prompts(text_file(tmp_path, "p.jsonl", *map(json.dumps, rows))) == wanted
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert load_prompts(str(tmp_path / "p.parquet")) == wanted
    pq.write_table(pa.table({"prompt": ["a red cat"]}), tmp_path / "bare.parquet")
    assert load_prompts(str(tmp_path / "bare.parquet")) == [Prompt("0", "a red cat", "all", 3, None)]


def test_a_spec_that_is_an_object_becomes_json(tmp_path: Path) -> None:
    source = text_file(tmp_path, "p.jsonl", json.dumps({"prompt": "a cat", "spec": {"b": [1], "a": 2}}))
    assert load_prompts(source)[0].spec == '{"a": 2, "b": [1]}'


def test_n_takes_the_first_of_a_file_and_as_many_as_there_are(tmp_path: Path) -> None:
    source = text_file(tmp_path, "p.txt", "one", "two", "three")
    assert [p.prompt for p in load_prompts(source, n=2)] == ["one", "two"]
    assert len(load_prompts(source, n=9)) == 3


def test_sets_are_drawn_by_name_and_by_seed() -> None:
    scenes = load_prompts("scenes", n=5, seed=1)
    assert len(scenes) == 5
    assert scenes != load_prompts("scenes", n=5, seed=2)
    assert scenes == load_prompts("llm4gen_data.scenes.prompts:scene_prompts", n=5, seed=1)
    dense = load_prompts("densprompts", n=6, seed=1)
    assert len(dense) == 6
    assert all(40 <= prompt.n_words <= 140 for prompt in dense)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("p.txt", [], "holds no prompts"),
        ("p.txt", ["a cat", "  ", "a dog"], "line 2: empty prompt"),
        ("p.txt", ["a cat", "word " * 2000], "line 2: prompt of 2,000 words, expected at most 1,000"),
        ("p.jsonl", ['{"prompt": "a cat"}', "{"], "line 2: not JSON"),
        ("p.jsonl", ["[1]"], "line 1: list, expected an object"),
        ("p.jsonl", ['{"text": "a cat"}'], "line 1: empty prompt"),
        ("p.jsonl", ['{"prompt": 7}'], "line 1: prompt is int"),
        ("p.jsonl", ['{"prompt_id": "a", "prompt": "x"}'] * 2, "two prompts have the prompt_id 'a'"),
        ("p.jsonl", ['{"id": "a", "prompt": "x"}'], "line 1: key 'id' is not known; ids are read from 'prompt_id'"),
        ("p.jsonl", ['{"promptId": 1, "prompt": "x"}'], "line 1: key 'promptId' is not known"),
        ("p.csv", ["a cat"], "not a file of prompts"),
        ("p.parquet", ["a cat"], "not a Parquet file"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, name: str, lines: list[str], message: str) -> None:
    source = text_file(tmp_path, name, *lines)
    with pytest.raises(UserError) as error:
        load_prompts(source)
    assert message in str(error.value)
    assert source in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_columns_and_unknown_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_prompts(str(tmp_path / "missing.parquet"))
    with pytest.raises(UserError, match="not a file of prompts"):
        load_prompts(str(tmp_path))
    pq.write_table(pa.table({"text": ["a cat"]}), tmp_path / "p.parquet")
    with pytest.raises(UserError, match="no column 'prompt' among text"):
        load_prompts(str(tmp_path / "p.parquet"))
    with pytest.raises(UsageError, match="did you mean 'scenes'"):
        load_prompts("scene")
    with pytest.raises(UsageError, match=r"'a red circle': no such file .*\.txt with one prompt a line, .* of scenes"):
        load_prompts("a red circle")
    with pytest.raises(UsageError, match="no such file"):
        load_prompts("a sign: stop")
    with pytest.raises(UsageError, match="no such file"):
        load_prompts("a red circle " * 30)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load_prompts(str(tmp_path / "latin.txt"))
    with pytest.raises(UserError, match="0 prompts asked for"):
        load_prompts("scenes", n=0)


def test_a_prompt_of_the_most_words_passes(tmp_path: Path) -> None:
    source = text_file(tmp_path, "p.txt", " ".join(["word"] * MAX_PROMPT_WORDS))
    assert load_prompts(source)[0].n_words == MAX_PROMPT_WORDS


def test_ids_under_another_key_are_refused_unless_no_one_asks_for_ids(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "prompt": ["a red cat"]}), tmp_path / "p.parquet")
    with pytest.raises(UserError, match="row 0: key 'id' is not known"):
        load_prompts(str(tmp_path / "p.parquet"))
    assert load_prompts(str(tmp_path / "p.parquet"), texts_only=True)[0].prompt == "a red cat"
    both = text_file(tmp_path, "p.jsonl", '{"id": 7, "prompt_id": "a", "prompt": "a red cat"}')
    assert load_prompts(both)[0].prompt_id == "a"
