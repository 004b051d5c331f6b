"""`llm4gen-data build-densprompts`: write the prompt set, its questions and its card into a run directory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from llm4gen_data.densprompts.build import DensePrompt, build
from llm4gen_data.densprompts.card import card
from llm4gen_data.densprompts.figures import figures
from llm4gen_data.densprompts.vocabulary import lexicon_sha256
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import SCHEMA_VERSION, finish, is_complete, open_run, read_json, sha256_file, write_text

WRITER = "grammar"
# The prompt's id, then field for field questions.Question.
QUESTION_SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("tuple", pa.string(), nullable=False),
        pa.field("parent_ids", pa.list_(pa.string()), nullable=False),
    ]
)
FILES = ("prompts.parquet", "questions.parquet", "prompts.jsonl", "prompts.txt", "README.md")


def build_densprompts(n: int, seed: int, out: Path) -> None:
    """Write `n` prompts into the run directory `out`; equal arguments give equal bytes.

    Files: `prompts.parquet` (PROMPT_SCHEMA), `questions.parquet` (QUESTION_SCHEMA), `prompts.jsonl` (the same rows
    as the former), `prompts.txt` (a prompt a line), `README.md` (card) and, last, `manifest.json` with figures and
    the drafts refused by reason. Raises UserError for a folder of another run.
    """
    arguments = {"n": n, "seed": seed, "writer": WRITER}
    fingerprint = {"schema_version": SCHEMA_VERSION, **arguments, "lexicon": lexicon_sha256()}
    with open_run(out, "build-densprompts", arguments, fingerprint):
        if is_complete(out):
            print(f"{out}: already complete")
        else:
            rejects: Counter[str] = Counter()
            made = list(tqdm(build(n, seed, rejects), total=n, desc="prompts", unit="prompt"))
            content = {"n_rows": n, "figures": figures(made), "rejects": dict(rejects.most_common())}
            _write(out, made, arguments)
            write_text(out / "README.md", card(made, content, seed))
            content["sha256"] = {name: sha256_file(out / name) for name in FILES}
            finish(out, "build-densprompts", fingerprint, content, ("pyarrow", "pyyaml"))
    figure = read_json(out / "manifest.json")["figures"]
    print(
        f"{out}: {n:,} prompts, {figure['words']['mean']} words on average, {figure['n_questions']:,} questions; "
        "prompts.parquet, questions.parquet, prompts.jsonl, prompts.txt, README.md"
    )


def _write(out: Path, made: list[DensePrompt], arguments: dict[str, Any]) -> None:
    rows = [asdict(dense.prompt) for dense in made]
    write_shard(out / "prompts.parquet", pa.Table.from_pylist(rows, PROMPT_SCHEMA), arguments)
    names = QUESTION_SCHEMA.names
    questions = [
        dict(zip(names, (dense.prompt.prompt_id, *astuple(question)), strict=True))
        for dense in made
        for question in dense.questions
    ]
    write_shard(out / "questions.parquet", pa.Table.from_pylist(questions, QUESTION_SCHEMA), arguments)
    write_text(out / "prompts.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_text(out / "prompts.txt", "".join(f"{dense.prompt.prompt}\n" for dense in made))
