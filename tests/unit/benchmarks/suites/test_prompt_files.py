"""`llm4gen-bench prompts` for DPG-Bench and GenEval: a file in, prompts with what they ask for out."""

import csv
from pathlib import Path

import pytest

from benchmarks import downloads
from benchmarks.suites import geneval_prompts
from benchmarks.suites.dpg_prompts import questions_of
from benchmarks.suites.geneval import task_of
from benchmarks.suites.prompt_files import write_prompts
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.prompts import load_prompts
from llm4gen_data.runs import sha256_file

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
ROWS = [
    ("partiprompts97", 'A dog, <b>"red"</b>.', 1, "0", "entity - whole (dog)", "Is there a dog?"),
    ("partiprompts97", 'A dog, <b>"red"</b>.', 2, "1", "attribute - color (dog, red)", "Is the dog red?"),
    ("12", "Two\ncats.", 1, "0", "entity - whole (cats)", "Are there cats?"),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "dpg_bench.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return path


def test_the_table_of_dpg_bench_becomes_prompts(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "prompts.parquet"
    told = write_prompts("dpg/official", None, (), table, out)
    assert told == f"{out}: 2 prompts (partiprompts 1, object365 1)"
    first, second = load_prompts(str(out))
    assert (first.prompt_id, first.prompt) == ("partiprompts97", 'A dog, <b>"red"</b>.')
    assert [question.question for question in questions_of(first)] == ["Is there a dog?", "Is the dog red?"]
    assert questions_of(second)[0].first_row is False
    write_prompts("dpg", None, ("object365",), table, out)
    assert [prompt.prompt_id for prompt in load_prompts(str(out))] == ["12"]


def test_geneval_comes_from_the_cache_and_is_held_to_its_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "geneval" / geneval_prompts.FILE
    kept.parent.mkdir()
    kept.write_text('{"tag": "colors", "prompt": "a red bus", "include": [{"class": "bus", "count": 1}]}\n')
    monkeypatch.setenv(downloads.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="it is not GenEval's"):
        write_prompts("geneval", None, (), None, tmp_path / "prompts.parquet")
    assert not (tmp_path / "prompts.parquet").exists()
    monkeypatch.setattr(geneval_prompts, "SHA256", sha256_file(kept))
    write_prompts("geneval", None, (), None, tmp_path / "prompts.parquet")
    (prompt,) = load_prompts(str(tmp_path / "prompts.parquet"))
    assert task_of(prompt).tag == prompt.category == "colors"


def test_what_cannot_be_meant_is_one_line(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "prompts.parquet"
    monkeypatch.delenv("LLM4GEN_DPG_BENCH", raising=False)
    with pytest.raises(UserError, match="set LLM4GEN_DPG_BENCH"):
        write_prompts("dpg", None, (), None, out)
    with pytest.raises(UsageError, match="--category mosaic: dpg has partiprompts, object365"):
        write_prompts("dpg", None, ("mosaic",), table, out)
    with pytest.raises(UsageError, match="--from: not for dpg"):
        write_prompts("dpg", tmp_path, (), table, out)
    with pytest.raises(UsageError, match=r"ends in \.parquet"):
        write_prompts("geneval", None, (), None, tmp_path / "prompts.txt")
    assert not out.exists()
