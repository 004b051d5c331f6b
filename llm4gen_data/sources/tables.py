"""Parquet and Arrow files as one long table that is read on from any row, a few batches in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.sources.files import File

# Parquet column chunks are read in pieces of so many bytes, however large a row group is.
BUFFER_BYTES = 2**20
# Footers of remote files wait for the network, not for a core.
OPEN_THREADS = 16


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file: its columns, its number of rows, and a hash that changes with its rows."""

    file: File
    schema: pa.Schema
    n_rows: int
    digest: str


def open_tables(files: Sequence[File]) -> list[TableFile]:
    """Read the layout of each file, not its rows. Raises UserError for what is no Parquet or Arrow file."""
    if len(files) == 1:
        return [_open_table(files[0])]
    with ThreadPoolExecutor(min(OPEN_THREADS, len(files) or 1)) as pool:
        return list(pool.map(_open_table, files))


def read_batches(table: TableFile, columns: Sequence[str], first_row: int, batch_rows: int) -> Iterator[Any]:
    """The rows from `first_row` on as record batches of at most `batch_rows` rows, in order.

    Row groups before `first_row` are not read. Raises UserError where the file is damaged.
    """
    read = _arrow_batches if table.file.suffix == ".arrow" else _parquet_batches
    position = first_row
    try:
        for batch in read(table, columns, first_row, batch_rows):
            position += batch.num_rows
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{table.file}: damaged at row {position}: {error}") from error
    if position < table.n_rows:
        raise UserError(f"{table.file}: ends at row {position}, expected {table.n_rows} rows")


class RowStream:
    """A place in the rows of several files: `take(n)` gives the next n rows and stays there for the next call."""

    def __init__(self, tables: Sequence[TableFile], columns: Sequence[str], first_row: int, batch_rows: int) -> None:
        self._batches = self._all_batches(tables, columns, first_row, batch_rows)
        self._rest: Any = None

    def take(self, n: int) -> Iterator[Any]:
        """Record batches of together `n` rows, fewer only at the end."""
        while n > 0:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                return
            self._rest = batch.slice(n) if batch.num_rows > n else None
            wanted = batch.slice(0, n)
            n -= wanted.num_rows
            yield wanted

    @staticmethod
    def _all_batches(
        tables: Sequence[TableFile], columns: Sequence[str], first_row: int, batch_rows: int
    ) -> Iterator[Any]:
        for table in tables:
            if first_row < table.n_rows:
                yield from read_batches(table, columns, first_row, batch_rows)
            first_row = max(0, first_row - table.n_rows)


def _open_table(file: File) -> TableFile:
    what = "an Arrow" if file.suffix == ".arrow" else "a Parquet"
    try:
        table = _open_arrow(file) if file.suffix == ".arrow" else _open_parquet(file)
        names = table.schema.names
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not {what} file: {error}") from error
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError(f"{file}: has more than one column named {', '.join(twice)}")
    return table


def _open_parquet(file: File) -> TableFile:
    with _parquet(file) as parquet:
        schema, n_rows = parquet.schema_arrow, parquet.metadata.num_rows
    # A Parquet file ends with the footer, its length (4 bytes, little endian) and the magic number.
    with file.open() as opened:
        opened.seek(-8, 2)
        length = int.from_bytes(opened.read(4), "little")
        opened.seek(-8 - length, 2)
        return TableFile(file, schema, n_rows, hashlib.sha256(opened.read(length)).hexdigest())


def _parquet(file: File) -> pq.ParquetFile:
    source = file.path if file.filesystem is None else file.open()
    return pq.ParquetFile(source, buffer_size=BUFFER_BYTES)


def _parquet_batches(table: TableFile, columns: Sequence[str], first_row: int, batch_rows: int) -> Iterator[Any]:
    with _parquet(table.file) as parquet:
        group, skip = 0, first_row
        while skip >= parquet.metadata.row_group(group).num_rows:
            skip -= parquet.metadata.row_group(group).num_rows
            group += 1
        groups = range(group, parquet.num_row_groups)
        for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=list(columns)):
            if skip < batch.num_rows:
                yield batch.slice(skip).select(columns)
            skip = max(0, skip - batch.num_rows)


def _open_arrow(file: File) -> TableFile:
    n_rows = 0
    with _arrow(file) as reader:
        for batch in reader:
            n_rows += batch.num_rows
        schema = reader.schema
    # `save_to_disk` of Hugging Face `datasets` keeps a fingerprint of the rows beside them.
    state = file.sibling("state.json")
    identity = f"{file.size} {n_rows} {schema} ".encode() + (state.read(0, 2**20) if state else b"")
    return TableFile(file, schema, n_rows, hashlib.sha256(identity).hexdigest())


def _arrow(file: File) -> Any:
    # A local file is mapped: what is skipped is not read.
    source = pa.memory_map(file.path) if file.filesystem is None else file.open()
    return pa.ipc.open_stream(source)


def _arrow_batches(table: TableFile, columns: Sequence[str], first_row: int, batch_rows: int) -> Iterator[Any]:
    skip = first_row
    with _arrow(table.file) as reader:
        for batch in reader:
            if skip < batch.num_rows:
                batch.validate(full=True)  # the offsets in the file are taken on trust otherwise
                for start in range(skip, batch.num_rows, batch_rows):
                    yield batch.slice(start, batch_rows).select(columns)
            skip = max(0, skip - batch.num_rows)
