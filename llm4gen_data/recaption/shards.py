"""A shard of LAION-refined: a fixed range of input rows, written whole, marked when durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4gen_data.parquet import CAPTION_SCHEMA, write_shard
from llm4gen_data.recaption import prepare
from llm4gen_data.recaption.gates import Gates, clean, reject_reasons
from llm4gen_data.recaption.journal import Outcome
from llm4gen_data.records import CaptionRecord
from llm4gen_data.runs import sha256_file, write_json
from llm4gen_data.sources.source import SourceRow


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
    *,
    instruction: str,
    gates: Gates,
    store_images: bool,
    extra_schema: pa.Schema,
    metadata: Mapping[str, Any],
) -> None:
    """Write the shard, then its marker, then drop its journal: nothing is marked before it is durable."""
    records = [
        caption_record(row, outcomes[shard.start + i], instruction, gates, store_images) for i, row in enumerate(rows)
    ]
    columns = dict(zip(CAPTION_SCHEMA.names, zip(*map(astuple, records), strict=True), strict=True))
    extra = {name: [row.extra.get(name) for row in rows] for name in extra_schema.names}
    schema = pa.schema([*CAPTION_SCHEMA, *extra_schema])
    arrays = [pa.array({**columns, **extra}[field.name], type=field.type) for field in schema]
    write_shard(shard.parquet, pa.Table.from_arrays(arrays, schema=schema), metadata)
    errors = Counter(f"{record.status}: {record.error_message}" for record in records if record.error_message)
    write_json(
        shard.marker,
        {
            "rows": [shard.start, shard.stop],
            "status": dict(sorted(Counter(record.status for record in records).items())),
            "kept": sum(record.keep for record in records),
            "reject_reasons": dict(sorted(Counter(r for record in records for r in record.reject_reasons).items())),
            "errors": dict(errors.most_common(20)),
            "output_tokens": sum(record.n_output_tokens or 0 for record in records),
            "sha256": sha256_file(shard.parquet),
        },
    )
    shard.journal.unlink(missing_ok=True)


def caption_record(
    row: SourceRow, outcome: Outcome, instruction: str, gates: Gates, store_image: bool
) -> CaptionRecord:
    """One row of LAION-refined from what came in and what became of it."""
    caption = None
    reasons = [outcome.status]
    if outcome.caption_raw is not None and outcome.finish_reason is not None:
        caption = clean(outcome.caption_raw)
        reasons = reject_reasons(outcome.caption_raw, outcome.finish_reason, row.alt_text, gates)
    return CaptionRecord(
        key=row.key,
        url=row.url,
        sha256=prepare.sha256(row.image) if row.image is not None else None,
        image={"bytes": row.image, "path": None} if store_image and row.image is not None else None,
        width=outcome.width,
        height=outcome.height,
        seen_width=outcome.seen_width,
        seen_height=outcome.seen_height,
        alt_text=row.alt_text,
        instruction=instruction,
        caption_raw=outcome.caption_raw,
        caption=caption,
        n_words=None if caption is None else len(caption.split()),
        finish_reason=outcome.finish_reason,
        n_output_tokens=outcome.n_output_tokens,
        status=outcome.status,
        error_message=outcome.error_message,
        keep=not reasons,
        reject_reasons=reasons,
    )
