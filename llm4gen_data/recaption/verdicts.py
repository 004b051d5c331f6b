"""A committed shard is brought up to date with gates: its verdict columns are written anew, raw ones stay."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.captioner import model_path
from llm4gen_data.recaption.duplicates import repeated_in, short_hash
from llm4gen_data.recaption.gates import Gates, apply_gates, gates_stamp
from llm4gen_data.recaption.language import check_language
from llm4gen_data.recaption.shards import Shard, write_marked
from llm4gen_data.recaption.similarity import Similarity
from llm4gen_data.runs import read_json

SIMILARITY_COLUMN = "caption_similarity"


def update_shard(
    shard: Shard, gates: Gates, repeated: Collection[str], similarity: Similarity | None, *, recheck: bool = False
) -> bool:
    """Give a committed shard the verdicts of `gates`; whether it had to be written.

    A shard whose metadata and marker name these gates already is left alone; with `recheck` its verdicts are
    computed again and compared. Parquet first, then the marker, each replaced atomically: after a kill in between,
    the next call does the shard again.
    """
    file = open_parquet(shard.parquet)
    metadata = json.loads(file.schema_arrow.metadata[b"llm4gen"])
    here = repeated_in(shard.parquet, repeated)
    wanted = gates_stamp(gates, short_hash(here), similarity.identity if similarity is not None else None)
    current = metadata["gates"] == wanted and read_json(shard.marker)["gates"] == wanted
    if current and not recheck:
        return False
    table = file.read().cast(_written_schema(file))
    if metadata["gates"].get("similarity") != wanted.get("similarity"):
        table = _with_similarity(table, similarity)
    judged = apply_gates(table, gates, here)
    if current and judged.equals(table):
        return False
    write_marked(shard, judged, {**metadata, "gates": wanted})
    return True


def check_gates(gates: Gates, *, store_images: bool) -> None:
    """Raise UserError for gates that could not be applied in the end: before anything is captioned or written."""
    if gates.language is not None:
        check_language(gates.language)
    if gates.similarity_model is not None:
        if not store_images:
            raise UserError("gates.similarity_model needs the images, and store_images is false")
        model_path(gates.similarity_model)


def _written_schema(file: pq.ParquetFile) -> pa.Schema:
    """The schema as it was written; read back, the items of lists have another name, and so the bytes would differ."""
    stored = base64.b64decode(file.metadata.metadata[b"ARROW:schema"])
    return pa.ipc.read_schema(pa.py_buffer(stored))


def _with_similarity(table: pa.Table, similarity: Similarity | None) -> pa.Table:
    if SIMILARITY_COLUMN in table.column_names:
        table = table.drop_columns([SIMILARITY_COLUMN])
    if similarity is None:
        return table
    after = table.column_names.index("reject_reasons") + 1
    return table.add_column(after, pa.field(SIMILARITY_COLUMN, pa.float32()), similarity.of_rows(table))
