"""Parquet (or Arrow) with image bytes: finished downloads, img2dataset's own Parquet, Hugging Face image data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import CAPTION_SCHEMA
from llm4gen_data.sources.files import File, list_files
from llm4gen_data.sources.images import MAX_IMAGE_BYTES
from llm4gen_data.sources.laion import ALT_TEXT_ALIASES, URL_ALIASES, find_column
from llm4gen_data.sources.source import SourceRow, as_text
from llm4gen_data.sources.tables import RowStream, open_tables

IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes")
# img2dataset's words for what happened to a download, ours for what happened to a caption
DOWNLOAD_COLUMNS = {"status": "download_status", "error_message": "download_error"}
READ_BATCH_ROWS = 64
KEY_BATCH_ROWS = 8192
# Places that readers of consecutive ranges come back to; each holds an open file and a batch.
MAX_STREAMS = 4


class ParquetSource:
    """The rows of files sorted by name, in file order; columns that are not ours pass through.

    Nothing is kept of the rows: memory grows with the number of files only.
    """

    def __init__(self, location: str) -> None:
        files = _data_files(location)
        if not files:
            raise UserError(f"{location}: no .parquet or .arrow file")
        self.tables = open_tables(files)
        names = self.tables[0].schema.names
        for table in self.tables:
            if set(table.schema.names) != set(names):
                raise UserError(f"{table.file}: has other columns than {files[0]}")
        try:
            schema = pa.unify_schemas([_plain(table.schema) for table in self.tables], promote_options="permissive")
        except pa.ArrowException as error:
            raise UserError(f"{location}: the files have columns of different types: {error}") from error
        self.n_rows = sum(table.n_rows for table in self.tables)
        self._image = _image_column(schema, self.tables[0].schema.metadata, files[0])
        self._url = find_column(names, URL_ALIASES)
        self._alt_text = find_column(names, ALT_TEXT_ALIASES)
        self._key = "key" if "key" in names else None
        own = [self._image, self._url, self._alt_text, self._key]
        taken = {*own, "txt", *CAPTION_SCHEMA.names}
        self._extra = {
            name: DOWNLOAD_COLUMNS.get(name, name)
            for name in names
            if name not in taken or (name in DOWNLOAD_COLUMNS and "download_status" not in names)
        }
        self._columns = (*dict.fromkeys(name for name in own if name), *self._extra)
        self.extra_schema = pa.schema([(new, schema.field(old).type) for old, new in self._extra.items()])
        self._streams: dict[tuple[tuple[str, ...], int], RowStream] = {}

    def fingerprint(self) -> dict[str, Any]:
        """Names and footers of the files, which hold the statistics of their values."""
        listing = "\n".join(f"{table.file.name}\t{table.n_rows}\t{table.digest}" for table in self.tables)
        return {"kind": "parquet", "n_rows": self.n_rows, "files": hashlib.sha256(listing.encode()).hexdigest()[:16]}

    def keys(self, start: int, stop: int) -> list[str]:
        """The `key` column of [start, stop), row numbers where there is none."""
        if self._key is None:
            return [_key(None, number) for number in range(start, stop)]
        batches = self._batches((self._key,), start, stop, KEY_BATCH_ROWS)
        keys = [key for batch in batches for key in _values(batch.column(0))]
        return [_key(key, number) for number, key in enumerate(keys, start)]

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The rows of [start, stop); where the last call stopped, reading goes on."""
        numbers = count(start)
        for batch in self._batches(self._columns, start, stop, READ_BATCH_ROWS):
            columns = {name: _values(batch.column(name)) for name in self._columns}
            for i in range(batch.num_rows):
                yield self._row({name: values[i] for name, values in columns.items()}, next(numbers))

    def _batches(self, columns: tuple[str, ...], start: int, stop: int, batch_rows: int) -> Iterator[Any]:
        stream = self._streams.pop((columns, start), None) or RowStream(self.tables, columns, start, batch_rows)
        yield from stream.take(stop - start)
        if stop < self.n_rows:
            self._streams[columns, stop] = stream
            while len(self._streams) > MAX_STREAMS:
                self._streams.pop(next(iter(self._streams)), None)

    def _row(self, row: dict[str, Any], number: int) -> SourceRow:
        extra = {new: row[old] for old, new in self._extra.items()}
        image, error = _image_bytes(row[self._image])
        return SourceRow(
            key=_key(row[self._key] if self._key else None, number),
            image=image,
            url=as_text(row[self._url]) if self._url else None,
            alt_text=as_text(row[self._alt_text]) if self._alt_text else None,
            download_error=None if image is not None else as_text(extra.get("download_error")) or error,
            extra=extra,
        )


def _key(value: Any, number: int) -> str:
    return f"{number:09d}" if value is None else as_text(value) or ""


def _image_bytes(value: Any) -> tuple[bytes | None, str]:
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None:
        return None, "no image bytes"
    if len(value) > MAX_IMAGE_BYTES:
        return None, f"{len(value)} bytes, over the limit of {MAX_IMAGE_BYTES} bytes"
    try:
        return bytes(value), ""
    except (TypeError, ValueError):  # a list of numbers that are no bytes
        return None, "no image bytes"


def _values(column: Any) -> list[Any]:
    """A column as Python values; what Python cannot hold (text that is no UTF-8, a date beyond its calendar) bends."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes().decode("utf-8", errors="replace") if scalar.is_valid else None
    except (ValueError, OverflowError, AttributeError, pa.ArrowException):
        return None


def _data_files(location: str) -> list[File]:
    """A run's rows are in data/ (recaption) or shards/ (download); elsewhere every Parquet file counts."""
    found = {file.name: file for file in list_files(location)}
    files = [
        file for name, file in sorted(found.items()) if file.suffix == ".parquet" or _is_arrow_rows(name, file, found)
    ]
    if len(found) > 1 and "fingerprint.json" in found:
        for folder in ("data/", "shards/"):
            inside = [file for file in files if file.name.startswith(folder)]
            if inside and "manifest.json" not in found:
                raise UserError(f"{location}: is a run that is not complete; finish it first by its own command")
            if inside:
                return inside
    return files


def _is_arrow_rows(name: str, file: File, found: dict[str, File]) -> bool:
    # beside the rows that `save_to_disk` wrote, `datasets` keeps what it computed from them
    return file.suffix == ".arrow" and (len(found) == 1 or not name.rpartition("/")[2].startswith(("cache-", "tmp")))


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return kind.value_type
    return kind


def _image_column(schema: pa.Schema, metadata: dict[bytes, bytes] | None, file: File) -> str:
    for name in (*_hf_images(metadata), *IMAGE_COLUMNS):
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kind = kind.field("bytes").type
            if _holds_bytes(kind):
                return name
            raise UserError(f"{file}: column {name!r} has type {kind}, expected bytes or a struct with bytes")
    if find_column(schema.names, URL_ALIASES):
        raise UserError(f"{file}: holds URLs but no image bytes; run `llm4gen-data download {file} --out DIR` first")
    raise UserError(
        f"{file}: missing column with image bytes (one of {', '.join(IMAGE_COLUMNS)}); found {', '.join(schema.names)}"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view, types.is_null)
    return any(is_kind(kind) for is_kind in binary) or (types.is_list(kind) and types.is_uint8(kind.value_type))


def _hf_images(metadata: dict[bytes, bytes] | None) -> Sequence[str]:
    """Columns that Hugging Face's own metadata call images."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, feature in features.items() if feature.get("_type") == "Image"]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return []
