"""A shard of LAION-refined: a fixed range of input rows, written whole, marked when durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4gen_data.parquet import CAPTION_SCHEMA, open_parquet, write_shard
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.gates import apply_gates, gates_stamp, outcome_counts
from llm4gen_data.recaption.instructions import Instruction
from llm4gen_data.recaption.journal import Answer, Outcome, write_journal
from llm4gen_data.recaption.prepare import sha256
from llm4gen_data.recaption.status import SUCCESS
from llm4gen_data.runs import sha256_file, write_json
from llm4gen_data.sources.source import SourceRow

# What a further instruction NAME adds to a row, each as NAME_column.
FURTHER_COLUMNS = {
    "caption_raw": pa.string(),
    "caption": pa.string(),
    "n_words": pa.int32(),
    "finish_reason": pa.string(),
    "n_output_tokens": pa.int32(),
    "reject_reasons": pa.list_(pa.string()),
}
OBJECT_COLUMNS = ("objects_named", "objects_denied")


@dataclass(frozen=True, slots=True)
class Shard:
    """Input rows [start, stop) and the files they go to."""

    index: int
    start: int
    stop: int
    folder: Path

    @property
    def parquet(self) -> Path:
        """The rows."""
        return self.folder / f"{self.index:05d}.parquet"

    @property
    def marker(self) -> Path:
        """Exists only when the rows are durable."""
        return self.folder / f"{self.index:05d}.json"

    @property
    def journal(self) -> Path:
        """Finished captions until then."""
        return self.folder / f"{self.index:05d}.journal"


def plan(n_rows: int, shard_rows: int, out: Path) -> list[Shard]:
    """The shards of a run, whatever of them exists already."""
    starts = range(0, n_rows, shard_rows)
    return [Shard(i, start, min(start + shard_rows, n_rows), out / "shards") for i, start in enumerate(starts)]


def commit(
    shard: Shard,
    rows: Sequence[SourceRow],
    outcomes: Mapping[int, Outcome],
    config: RecaptionConfig,
    extra_schema: pa.Schema,
    fingerprint: Mapping[str, Any],
) -> None:
    """Write the shard, then its marker, then drop its journal: nothing is marked before it is durable."""
    table = raw_table(rows, [outcomes[number] for number in range(shard.start, shard.stop)], config, extra_schema)
    write_marked(shard, apply_gates(table, config.gates), {**fingerprint, "gates": gates_stamp(config.gates)})
    shard.journal.unlink(missing_ok=True)


def write_marked(shard: Shard, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write the rows of a shard, then the marker that counts them."""
    write_shard(shard.parquet, table, metadata)
    write_json(
        shard.marker,
        {
            "rows": [shard.start, shard.stop],
            **outcome_counts(table),
            "gates": metadata["gates"],
            "sha256": sha256_file(shard.parquet),
        },
    )


def raw_table(
    rows: Sequence[SourceRow], outcomes: Sequence[Outcome], config: RecaptionConfig, extra_schema: pa.Schema
) -> pa.Table:
    """The rows of LAION-refined before their verdicts: `caption`, `n_words` and `reject_reasons` are still empty."""
    first, *further = config.parsed_instructions()
    n = len(rows)
    images = [row.image for row in rows]
    columns: dict[str, Sequence[Any]] = {
        "key": [row.key for row in rows],
        "url": [row.url for row in rows],
        "sha256": [None if image is None else sha256(image) for image in images],
        "image": [
            {"bytes": image, "path": None} if config.store_images and image is not None else None for image in images
        ],
        "width": [outcome.width for outcome in outcomes],
        "height": [outcome.height for outcome in outcomes],
        "seen_width": [outcome.seen_width for outcome in outcomes],
        "seen_height": [outcome.seen_height for outcome in outcomes],
        "alt_text": [row.alt_text for row in rows],
        "instruction": [first.text] * n,
        **_answer_columns("", first, outcomes),
        "status": [outcome.status for outcome in outcomes],
        "error_message": [outcome.error_message for outcome in outcomes],
        "keep": [False] * n,
    }
    schema = CAPTION_SCHEMA
    for instruction in further:
        columns |= _answer_columns(f"{column_name(instruction)}_", instruction, outcomes)
        for name, kind in FURTHER_COLUMNS.items():
            schema = schema.append(pa.field(f"{column_name(instruction)}_{name}", kind))
    if config.object_check:
        for name in OBJECT_COLUMNS:
            columns[name] = [getattr(outcome, name) for outcome in outcomes]
            schema = schema.append(pa.field(name, pa.list_(pa.string())))
    for field in extra_schema:
        if field.name not in columns:
            columns[field.name] = [row.extra.get(field.name) for row in rows]
            schema = schema.append(field)
    return pa.Table.from_arrays([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def reopen(shard: Shard, config: RecaptionConfig, statuses: Sequence[str]) -> int:
    """Take the rows with one of `statuses` out of a committed shard, to be done again; how many there are.

    The others go back into a journal, and only when that is durable does the marker go.
    """
    outcomes = read_outcomes(shard, config)
    kept = {number: outcome for number, outcome in outcomes.items() if outcome.status not in statuses}
    if len(kept) < len(outcomes):
        write_journal(shard.journal, kept)
        shard.marker.unlink()
    return len(outcomes) - len(kept)


def read_outcomes(shard: Shard, config: RecaptionConfig) -> dict[int, Outcome]:
    """What a committed shard says became of its rows, by row number."""
    instructions = config.parsed_instructions()
    prefixes = ["", *(f"{column_name(instruction)}_" for instruction in instructions[1:])]
    plain = ["status", "error_message", "width", "height", "seen_width", "seen_height"]
    plain += OBJECT_COLUMNS if config.object_check else ()
    answer = ("caption_raw", "finish_reason", "n_output_tokens")
    columns = [*plain, *(f"{prefix}{name}" for prefix in prefixes for name in answer)]
    table = open_parquet(shard.parquet).read(columns=columns)
    return {
        shard.start + i: Outcome(
            **{name: row[name] for name in plain},
            answers={
                instruction.name: Answer(*(row[f"{prefix}{name}"] for name in answer))
                for prefix, instruction in zip(prefixes, instructions, strict=True)
                if row["status"] == SUCCESS
            },
        )
        for i, row in enumerate(table.to_pylist())
    }


def column_name(instruction: Instruction) -> str:
    """What the columns of a further instruction begin with."""
    return instruction.name.replace("-", "_")


def _answer_columns(prefix: str, instruction: Instruction, outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    answers = [outcome.answers.get(instruction.name) for outcome in outcomes]
    n = len(outcomes)
    return {
        f"{prefix}caption_raw": [answer and answer.caption_raw for answer in answers],
        f"{prefix}caption": [None] * n,
        f"{prefix}n_words": [None] * n,
        f"{prefix}finish_reason": [answer and answer.finish_reason for answer in answers],
        f"{prefix}n_output_tokens": [answer and answer.n_output_tokens for answer in answers],
        f"{prefix}reject_reasons": [[]] * n,
    }
