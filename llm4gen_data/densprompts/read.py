"""Read a built prompt set back: prompts with their specifications, questions and twins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm4gen_data.densprompts.build import DensePrompt
from llm4gen_data.densprompts.questions import Question
from llm4gen_data.densprompts.spec import spec_from_json
from llm4gen_data.densprompts.twins import Twin
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.prompts import load_prompts
from llm4gen_data.runs import is_complete

QUESTION_COLUMNS = ("prompt_id", "question_id", "question", "answer", "kind", "tuple", "parent_ids", "skill")
TWIN_COLUMNS = ("prompt_id", "twin_id", "kind", "prompt", "spec", "false_question_ids")


def read_set(folder: Path) -> list[DensePrompt]:
    """The prompts that build-densprompts wrote into `folder`, in order; similarities and sentence plans are not kept.

    Raises UserError if the folder holds no finished set, or tables that do not fit together.
    """
    if not is_complete(folder) or not (folder / "prompts.parquet").is_file():
        raise UserError(f"{folder}: no finished prompt set, expected what build-densprompts wrote")
    asked: dict[str, list[Question]] = defaultdict(list)
    for row in _rows(folder / "questions.parquet", QUESTION_COLUMNS):
        question = Question(
            question_id=row["question_id"],
            question=row["question"],
            answer=row["answer"],
            kind=row["kind"],
            fact=row["tuple"],
            parent_ids=tuple(row["parent_ids"]),
            skill=row["skill"],
        )
        asked[row["prompt_id"]].append(question)
    twins: dict[str, list[Twin]] = defaultdict(list)
    for row in _rows(folder / "twins.parquet", TWIN_COLUMNS):
        spec = spec_from_json(row["spec"])
        twin = Twin(row["twin_id"], row["kind"], row["prompt"], spec, tuple(row["false_question_ids"]))
        twins[row["prompt_id"]].append(twin)
    prompts = load_prompts(str(folder / "prompts.parquet"))
    strays = (asked.keys() | twins.keys()) - {prompt.prompt_id for prompt in prompts}
    if strays:
        raise UserError(f"{folder}: questions or twins of {min(strays)!r}, which is not in prompts.parquet")
    made = []
    for prompt in prompts:
        if prompt.spec is None:
            raise UserError(f"{folder / 'prompts.parquet'}: prompt {prompt.prompt_id!r} has no spec")
        own = tuple(asked[prompt.prompt_id]), tuple(twins[prompt.prompt_id])
        made.append(DensePrompt(prompt, spec_from_json(prompt.spec), *own))
    return made


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    file = open_parquet(path)
    absent = [name for name in columns if name not in file.schema_arrow.names]
    if absent:
        raise UserError(f"{path}: no column {', '.join(absent)}")
    rows: list[dict[str, Any]] = file.read(columns=list(columns)).to_pylist()
    return rows
