"""`build_densprompts`: files as promised, equal bytes for equal arguments, a second start that only looks."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4gen_data.densprompts.config import DensePromptsConfig
from llm4gen_data.densprompts.run import FILES, build_densprompts
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import PROMPT_SCHEMA
from llm4gen_data.prompts import load_prompts

N = 16
CONFIG = DensePromptsConfig(n=N, seed=3)


def test_files_agree_with_each_other_and_are_built_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    build_densprompts(CONFIG, out)
    table = pq.read_table(out / "prompts.parquet")
    assert table.schema.remove_metadata().equals(PROMPT_SCHEMA)
    rows = table.to_pylist()
    assert [json.loads(line) for line in (out / "prompts.jsonl").read_text().splitlines()] == rows
    assert (out / "prompts.txt").read_text().splitlines() == [row["prompt"] for row in rows]
    assert [p.prompt for p in load_prompts(str(out / "prompts.parquet"))] == [row["prompt"] for row in rows]
    questions = pq.read_table(out / "questions.parquet").to_pylist()
    assert list(questions[0]) == [
        "prompt_id", "question_id", "question", "answer", "kind", "tuple", "parent_ids", "skill",
    ]  # fmt: skip
    assert {q["prompt_id"] for q in questions} == {row["prompt_id"] for row in rows}
    known = {(q["prompt_id"], q["question_id"]) for q in questions}
    assert all((q["prompt_id"], parent) in known for q in questions for parent in q["parent_ids"])
    twins = pq.read_table(out / "twins.parquet").to_pylist()
    assert {t["prompt_id"] for t in twins} <= {row["prompt_id"] for row in rows}
    assert all((t["prompt_id"], wrong) in known for t in twins for wrong in t["false_question_ids"])
    assert len({t["twin_id"] for t in twins}) == len(twins) > N
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["n_rows"] == N
    assert sum(manifest["figures"]["categories"].values()) == N
    assert manifest["figures"]["n_questions"] == len(questions)
    assert set(manifest["sha256"]) == set(FILES)
    card = (out / "README.md").read_text()
    assert rows[0]["prompt"] in card
    assert "Apache-2.0" in card

    capsys.readouterr()
    before = {name: (out / name).stat().st_mtime_ns for name in (*FILES, "manifest.json")}
    build_densprompts(CONFIG, out)
    assert "already complete" in capsys.readouterr().out
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}
    with pytest.raises(UserError, match="seed: 3 -> 4"):
        build_densprompts(replace(CONFIG, seed=4), out)


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    build_densprompts(CONFIG, tmp_path / "a")
    build_densprompts(CONFIG, tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
