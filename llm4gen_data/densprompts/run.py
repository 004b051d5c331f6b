"""`llm4gen-data build-densprompts`: write the prompt set, its questions, twins and card into a run directory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.densprompts.build import DensePrompt, build, default_processes
from llm4gen_data.densprompts.card import card
from llm4gen_data.densprompts.config import DensePromptsConfig
from llm4gen_data.densprompts.coverage import CLOUD_PICTURE, LENGTHS_PICTURE, coverage
from llm4gen_data.densprompts.decontaminate import PublicSet, leakage, read_public_sets
from llm4gen_data.densprompts.drawings import draw_lengths, draw_word_cloud
from llm4gen_data.densprompts.figures import figures
from llm4gen_data.densprompts.versions import version_of
from llm4gen_data.densprompts.vocabulary import lexicon_sha256
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import SCHEMA_VERSION, finish, is_complete, open_run, read_json, sha256_file, write_text

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
        pa.field("skill", pa.string(), nullable=False),
    ]
)
# `false_question_ids` are the prompt's questions whose answer about the twin is no.
TWIN_SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("twin_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("spec", pa.string(), nullable=False),
        pa.field("false_question_ids", pa.list_(pa.string()), nullable=False),
    ]
)
JOURNAL = "answers.journal"  # of the llm writer, until its run is finished
TABLES = ("prompts.parquet", "questions.parquet", "twins.parquet", "prompts.jsonl", "prompts.txt")
FILES = (*TABLES, "coverage.md", LENGTHS_PICTURE, CLOUD_PICTURE, "README.md")


def build_densprompts(config: DensePromptsConfig, out: Path) -> None:
    """Write the prompt set of `config` into the run directory `out`; with the grammar, equal bytes every time.

    Files: `prompts.parquet` (PROMPT_SCHEMA), `questions.parquet` (QUESTION_SCHEMA), `twins.parquet` (TWIN_SCHEMA),
    `prompts.jsonl` (the rows of the first), `prompts.txt` (a prompt a line), `coverage.md` and `README.md` (card) with
    their figures and, last, `manifest.json` with all numbers and the texts refused by reason; from the llm writer also
    `rejects.jsonl`.
    A killed build by the grammar starts again, one by an llm goes on after the answers it has. Raises UserError for
    a folder of another run, UsageError for wrong quotas.
    """
    shares = config.shares()
    public = read_public_sets([Path(path) for path in config.against])
    fingerprint = _fingerprint(config, shares, public)
    with open_run(out, "build-densprompts", to_plain(config), fingerprint):
        if is_complete(out):
            print(f"{out}: already complete")
        else:
            made, content = _made(config, shares, public, out)
            prompts = [dense.prompt.prompt for dense in made]
            content = {"n_rows": len(made), "writer": config.writer, "figures": figures(made), **content}
            content["leakage"] = leakage(prompts, public)
            _write_data(out, made, {"seed": config.seed, "writer": config.writer})
            content["sha256"] = {name: sha256_file(out / name) for name in TABLES}
            content["version"] = version_of(content["sha256"]["prompts.jsonl"])
            draw_lengths([dense.prompt.n_words for dense in made], out / LENGTHS_PICTURE)
            draw_word_cloud(prompts, out / CLOUD_PICTURE)
            write_text(out / "coverage.md", coverage(content, shares))
            write_text(out / "README.md", card(made, content, config.seed))
            content["sha256"] |= {name: sha256_file(out / name) for name in FILES}
            finish(out, "build-densprompts", fingerprint, content, ("pyarrow", "pyyaml"))
            (out / JOURNAL).unlink(missing_ok=True)
    _report(out, sum(shares.values()))


def _fingerprint(config: DensePromptsConfig, shares: Mapping[str, int], public: Sequence[PublicSet]) -> dict[str, Any]:
    fingerprint: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "n": sum(shares.values()),
        "seed": config.seed,
        "writer": config.writer,
        "quotas": dict(shares),
        "lexicon": lexicon_sha256(),
        "against": {given.name: given.sha256 for given in public},
    }
    if config.writer == "llm":
        from llm4gen_data.densprompts.writers.llm import fingerprint as of_llm

        fingerprint["llm"] = of_llm(config.llm)
    return fingerprint


def _made(
    config: DensePromptsConfig, shares: Mapping[str, int], public: Sequence[PublicSet], out: Path
) -> tuple[list[DensePrompt], dict[str, Any]]:
    """The prompts, and what the manifest says of how they came about."""
    if config.writer == "grammar":
        n = sum(shares.values())
        refused: Counter[str] = Counter()
        prompts = build(shares, config.seed, refused, public=public, processes=default_processes(n))
        made = list(tqdm(prompts, total=n, desc="prompts", unit="prompt"))
        return made, {"rejects": dict(refused.most_common())}
    from llm4gen_data.densprompts.writers.llm import build_with_llm

    built = build_with_llm(shares, config.seed, config.llm, out / JOURNAL, public=public)
    write_text(out / "rejects.jsonl", _lines(asdict(reject) for reject in built.rejects))
    reasons = dict(built.reasons.most_common())
    if not built.made:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        raise UserError(
            f"{config.llm.model}: none of {len(built.rejects):,} answers could be accepted ({counts}); "
            f"{out / 'rejects.jsonl'} has them all"
        )
    return built.made, {"rejects": reasons, "llm": built.summary()}


def _write_data(out: Path, made: Sequence[DensePrompt], metadata: Mapping[str, Any]) -> None:
    rows = [asdict(dense.prompt) for dense in made]
    write_shard(out / "prompts.parquet", pa.Table.from_pylist(rows, PROMPT_SCHEMA), metadata)
    asked = [
        dict(zip(QUESTION_SCHEMA.names, (dense.prompt.prompt_id, *astuple(question)), strict=True))
        for dense in made
        for question in dense.questions
    ]
    write_shard(out / "questions.parquet", pa.Table.from_pylist(asked, QUESTION_SCHEMA), metadata)
    twins = [
        {
            "prompt_id": dense.prompt.prompt_id,
            "twin_id": twin.twin_id,
            "kind": twin.kind,
            "prompt": twin.prompt,
            "spec": twin.spec.to_json(),
            "false_question_ids": list(twin.false_question_ids),
        }
        for dense in made
        for twin in dense.twins
    ]
    write_shard(out / "twins.parquet", pa.Table.from_pylist(twins, TWIN_SCHEMA), metadata)
    write_text(out / "prompts.jsonl", _lines(rows))
    write_text(out / "prompts.txt", "".join(f"{dense.prompt.prompt}\n" for dense in made))


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _report(out: Path, n_asked: int) -> None:
    manifest = read_json(out / "manifest.json")
    n, figure, llm = manifest["n_rows"], manifest["figures"], manifest.get("llm")
    if llm is not None:
        print(f"{llm['model']}, preset {llm['preset']}: {llm['n_accepted']:,} of {llm['n_asked']:,} answers accepted")
        for reason, count in manifest["rejects"].items():
            print(f"  {count:6,} {reason}")
    if n < n_asked:
        print(f"{n_asked - n:,} of {n_asked:,} prompts are missing: no text for them was accepted (rejects.jsonl)")
    version = f"; this is {manifest['version']}" if manifest["version"] else ""
    print(
        f"{out}: {n:,} prompts, {figure['words']['mean']} words on average, {figure['n_questions']:,} questions; "
        f"{', '.join(TABLES)}, coverage.md, README.md{version}"
    )
