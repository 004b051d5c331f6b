"""Tables of image URLs as LAION, Re-LAION, COYO and DataComp publish them: Parquet with their own column names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.sources.files import File, list_files
from llm4gen_data.sources.tables import TableFile, open_tables, read_batches

# Compared without case; the first alias that a file has wins. LAION-COCO has TEXT beside top_caption: the alt
# text is TEXT, the generated caption passes through.
URL_ALIASES = ("url", "image_url", "img_url", "image_link", "src")
ALT_TEXT_ALIASES = ("alt_text", "text", "caption", "alttext", "alt", "top_caption")

# Columns that a downloaded shard has of its own, and the names img2dataset keeps for itself.
RESERVED_NAMES = frozenset(
    {"key", "url", "alt_text", "image", "width", "height", "original_width", "original_height", "sha256", "exif"}
    | {"download_status", "download_error", "caption", "status", "error_message", "md5", "sha512"}
)
TEXT_COLUMNS = pa.schema([("url", pa.string()), ("alt_text", pa.string())])
BATCH_ROWS = 65536


@dataclass(frozen=True, slots=True)
class UrlFile:
    """One Parquet file of URLs; `columns` maps its column names to ours."""

    table: TableFile
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class UrlTable:
    """Parquet files of URLs read as one table: `url`, `alt_text`, then the publisher's other columns."""

    files: tuple[UrlFile, ...]
    schema: pa.Schema

    @property
    def n_rows(self) -> int:
        """Rows of all files together."""
        return sum(file.table.n_rows for file in self.files)

    def fingerprint(self) -> dict[str, str | int]:
        """Stands for the content: row count, and one hash over names and footers (offsets, statistics) of files."""
        footers = json.dumps([[PurePosixPath(file.table.file.name).name, file.table.digest] for file in self.files])
        return {"n_rows": self.n_rows, "footers_sha256": hashlib.sha256(footers.encode()).hexdigest()}


def open_url_table(source: str) -> UrlTable:
    """Read the layout of a Parquet file of URLs, or of a folder of them (in name order), without its rows.

    `source` is a path or any URL that fsspec opens. Columns other than URL and alt text keep their own names; a
    name in RESERVED_NAMES gets the prefix `source_`. Raises UserError for what is missing, not Parquet, empty,
    without a URL column, or of types that do not go together.
    """
    found = list(list_files(source))
    if len(found) != 1 or found[0].name.endswith(".parquet"):
        found = sorted((file for file in found if _is_data(file)), key=lambda file: file.name)
    if not found:
        raise UserError(f"{source}: no *.parquet files in this folder")
    files, schemas = [], []
    for opened in open_tables(found):
        columns = canonical_columns(opened.schema.names, opened.file)
        files.append(UrlFile(opened, columns))
        fields = ((new, _plain_type(new, opened.schema.field(old), opened.file)) for old, new in columns.items())
        schemas.append(pa.schema(fields))
    try:
        schema = pa.unify_schemas([TEXT_COLUMNS, *schemas], promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"{source}: the files have columns of different types: {error}") from error
    table = UrlTable(tuple(files), schema)
    if table.n_rows == 0:
        raise UserError(f"{source}: holds no rows")
    return table


def canonical_columns(names: Sequence[str], file: object) -> dict[str, str]:
    """Map a file's column names to ours. Raises UserError naming file, columns and aliases if none holds URLs."""
    url = find_column(names, URL_ALIASES)
    if url is None:
        raise UserError(
            f"{file}: no URL column; found {', '.join(names) or 'no columns'}; "
            f"expected one named {', '.join(URL_ALIASES)} (in any case)"
        )
    columns = {url: "url"}
    alt_text = find_column(names, ALT_TEXT_ALIASES)
    if alt_text is not None:
        columns[alt_text] = "alt_text"
    own_names = set(names)
    for name in names:
        if name in columns:
            continue
        new = name
        while new in RESERVED_NAMES or (new != name and new in own_names):
            new = f"source_{new}"
        columns[name] = new
    return columns


def read_rows(table: UrlTable, first_row: int, chunk_rows: int) -> Iterator[pa.Table]:
    """Yield the rows from `first_row` on in tables of `chunk_rows` rows (the last may be shorter), in input order.

    Row groups before `first_row` are not read. Raises UserError naming the file whose data are damaged.
    """
    waiting = table.schema.empty_table()
    for rows in _batches(table, first_row):
        waiting = pa.concat_tables([waiting, rows])
        while waiting.num_rows >= chunk_rows:
            yield waiting.slice(0, chunk_rows)
            waiting = waiting.slice(chunk_rows)
    if waiting.num_rows:
        yield waiting


def _batches(table: UrlTable, first_row: int) -> Iterator[pa.Table]:
    for file in table.files:
        if first_row < file.table.n_rows:
            for batch in read_batches(file.table, file.table.schema.names, first_row, BATCH_ROWS):
                yield _canonical(pa.Table.from_batches([batch]), file, table.schema)
        first_row = max(0, first_row - file.table.n_rows)


def _canonical(rows: pa.Table, file: UrlFile, schema: pa.Schema) -> pa.Table:
    old_names = {new: old for old, new in file.columns.items()}
    columns = [
        _cast(rows.column(old_names[field.name]), field, file)
        if field.name in old_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: Any, field: pa.Field, file: UrlFile) -> Any:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        if not pa.types.is_string(field.type):
            raise UserError(f"{file.table.file}: column {field.name!r} does not fit {field.type}: {error}") from error
    # bytes that are no UTF-8
    texts = [
        None if text is None else text.decode("utf-8", errors="replace")
        for text in column.cast(pa.binary()).to_pylist()
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _is_data(file: File) -> bool:
    return file.suffix == ".parquet" and not PurePosixPath(file.name).name.startswith("_")


def find_column(names: Sequence[str], aliases: Sequence[str]) -> str | None:
    """The first alias that `names` holds in any case, in its own spelling; None if it holds none."""
    for alias in aliases:
        for name in names:
            if name.lower() == alias:
                return name
    return None


def _plain_type(new: str, field: pa.Field, file: object) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if new not in ("url", "alt_text"):
        return kind
    texts = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_null,
    )
    if not any(is_kind(kind) for is_kind in texts):
        raise UserError(f"{file}: column {field.name!r} has type {field.type}, expected text")
    return pa.string()
