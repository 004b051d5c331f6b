"""DPG-Bench's prompts with their questions: read from its table, kept in each prompt's spec."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.suites.dpg import DpgQuestion, question_from_row
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

KEY = "dpg_bench"  # in `Prompt.spec`
TABLE = "dpg_bench.csv"
SOURCE = "https://github.com/TencentQQGYLab/ELLA/blob/main/dpg_bench/dpg_bench.csv"
# Where the table is looked for when a model's prompts are drawn by the suite's name.
TABLE_VARIABLE = "LLM4GEN_DPG_BENCH"
# Prompts without a name before their number are Object365's.
NUMBERED = "object365"


def dpg_prompts(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """The first `n` prompts (None: all) of the table that $LLM4GEN_DPG_BENCH names. Raises UserError without it."""
    path = os.environ.get(TABLE_VARIABLE)
    if not path:
        raise UserError(
            f"DPG-Bench: set {TABLE_VARIABLE} to {TABLE} (from {SOURCE}), or make a file of its prompts with "
            f"`llm4gen-bench prompts --suite dpg --file {TABLE} --out prompts.parquet` and draw that"
        )
    return read_table(Path(path))[:n]


def read_table(path: Path) -> list[Prompt]:
    """The prompts in the order of the original table, each with its questions; the category is the prompt's source.

    Raises UserError for a file that is not such a table.
    """
    texts: dict[str, str] = {}
    questions: dict[str, list[DpgQuestion]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                question = question_from_row(row, first_row=number == 0)
                text = texts.setdefault(question.prompt_id, (row.get("text") or "").strip())
                if not text:
                    raise UserError(f"{path}: prompt {question.prompt_id!r} has no text")
                questions[question.prompt_id].append(question)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not texts:
        raise UserError(f"{path}: no rows, expected the table of DPG-Bench ({SOURCE})")
    return [
        Prompt(prompt_id, text, _source(prompt_id), len(text.split()), to_spec(questions[prompt_id]))
        for prompt_id, text in texts.items()
    ]


def to_spec(questions: Sequence[DpgQuestion]) -> str:
    """As JSON for `Prompt.spec`."""
    return json.dumps({KEY: [asdict(question) for question in questions]}, ensure_ascii=False)


def questions_of(prompt: Prompt) -> list[DpgQuestion]:
    """The questions in a prompt's spec. Raises UserError if there are none."""
    try:
        rows = json.loads(prompt.spec or "null")[KEY]
        questions = [DpgQuestion(**{**row, "parent_ids": tuple(row["parent_ids"])}) for row in rows]
        if not questions or not all(isinstance(question.question_id, int) for question in questions):
            raise ValueError("none")
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"prompt {prompt.prompt_id!r} has no questions of DPG-Bench in its spec; `llm4gen-bench prompts --suite "
            f"dpg --file {TABLE}` writes prompts with them"
        ) from error
    return questions


def _source(prompt_id: str) -> str:
    """COCO, PartiPrompts and the other sets that the prompts were made from, by the letters of the id."""
    letters = re.match(r"[A-Za-z]*", prompt_id)
    return letters[0] if letters and letters[0] else NUMBERED
