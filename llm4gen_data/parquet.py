"""One Arrow schema a record, shards written atomically and byte for byte reproducibly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# Field for field records.CaptionRecord.
CAPTION_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("url", pa.string()),
        ("sha256", pa.string()),
        ("image", IMAGE),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("seen_width", pa.int32()),
        ("seen_height", pa.int32()),
        ("alt_text", pa.string()),
        pa.field("instruction", pa.string(), nullable=False),
        ("caption_raw", pa.string()),
        ("caption", pa.string()),
        ("n_words", pa.int32()),
        ("finish_reason", pa.string()),
        ("n_output_tokens", pa.int32()),
        pa.field("status", pa.string(), nullable=False),
        ("error_message", pa.string()),
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reject_reasons", pa.list_(pa.string()), nullable=False),
    ]
)

# Field for field records.Prompt.
PROMPT_SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("n_words", pa.int32(), nullable=False),
        ("spec", pa.string()),
    ]
)

# Field for field records.GeneratedImage.
GENERATED_IMAGE_SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("sample_index", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)

# Row groups near this size suit both scans and the Hugging Face viewer.
ROW_GROUP_BYTES = 64 * 2**20
MIN_ROW_GROUP_ROWS = 100


def write_shard(path: Path, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `table` atomically: zstd on text, none on image bytes, page index, content-defined chunks.

    `metadata` goes into the schema as JSON under the key `llm4gen`; the key `huggingface` tells `datasets`
    which column is an image. Equal tables give equal bytes.
    """
    stored = {b"huggingface": json.dumps({"info": {"features": hf_features(table.schema)}}).encode()}
    if metadata is not None:
        stored[b"llm4gen"] = json.dumps(metadata, sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata(stored)
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    # Into memory first: when the disk fills up under it, Arrow's chunking writer aborts the whole process.
    buffer = pa.BufferOutputStream()
    pq.write_table(
        table,
        buffer,
        compression={leaf: "none" if leaf == "image.bytes" else "zstd" for leaf in _leaves(table.schema)},
        row_group_size=max(MIN_ROW_GROUP_ROWS, ROW_GROUP_BYTES // row_bytes),
        write_page_index=True,
        use_content_defined_chunking=True,
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file. Raises UserError if it is missing, unreadable or not Parquet."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file: {error}") from error


def hf_features(schema: pa.Schema) -> dict[str, Any]:
    """The `features` of Hugging Face `datasets` for an Arrow schema; columns of type IMAGE become Image."""
    return {field.name: _hf_feature(field.type) for field in schema}


def _hf_feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"feature": _hf_feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _hf_feature(kind.field(i).type) for i in range(kind.num_fields)}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def _leaves(schema: pa.Schema) -> list[str]:
    return [leaf for field in schema for leaf in _field_leaves(field.name, field.type)]


def _field_leaves(path: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return [leaf for field in fields for leaf in _field_leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _field_leaves(f"{path}.list.element", kind.value_type)
    return [path]
