"""Parquet with image bytes: finished downloads, img2dataset's own Parquet, Hugging Face image data sets."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import CAPTION_SCHEMA, open_parquet
from llm4gen_data.sources.laion import ALT_TEXT_ALIASES, URL_ALIASES, find_column
from llm4gen_data.sources.source import SourceRow

IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes")
# img2dataset's words for what happened to a download, ours for what happened to a caption
DOWNLOAD_COLUMNS = {"status": "download_status", "error_message": "download_error"}
READ_BATCH_ROWS = 64


class ParquetSource:
    """The rows of sorted Parquet files in file order; columns that are not ours pass through."""

    def __init__(self, path: Path) -> None:
        self.paths = [path] if path.is_file() else _data_files(path)
        self.files: list[pq.ParquetFile] = [open_parquet(file) for file in self.paths]
        schema = self.files[0].schema_arrow
        for file, where in zip(self.files, self.paths, strict=True):
            if file.schema_arrow.names != schema.names:
                raise UserError(f"{where}: has other columns than {self.paths[0]}")
        self._image = _image_column(schema, self.paths[0])
        self._url = find_column(schema.names, URL_ALIASES)
        self._alt_text = find_column(schema.names, ALT_TEXT_ALIASES)
        self._key = "key" if "key" in schema.names else None
        self._keys: list[str] | None = None
        self._starts = [0, *accumulate(file.metadata.num_rows for file in self.files)]
        self.n_rows = self._starts[-1]
        taken = {self._image, self._url, self._alt_text, self._key, "txt"} | set(CAPTION_SCHEMA.names)
        self._extra = {
            name: DOWNLOAD_COLUMNS.get(name, name)
            for name in schema.names
            if name not in taken or (name in DOWNLOAD_COLUMNS and "download_status" not in schema.names)
        }
        self.extra_schema = pa.schema([(new, schema.field(old).type) for old, new in self._extra.items()])

    def fingerprint(self) -> dict[str, Any]:
        """Names and sizes of the files with their row groups' statistics, which change with the values."""
        listing = []
        for path, file in zip(self.paths, self.files, strict=True):
            groups = [file.metadata.row_group(i).to_dict() for i in range(file.metadata.num_row_groups)]
            listing.append(f"{path.name}\t{path.stat().st_size}\t{file.metadata.num_rows}\t{groups}")
        digest = hashlib.sha256("\n".join(listing).encode()).hexdigest()[:16]
        return {"kind": "parquet", "n_rows": self.n_rows, "files": digest}

    def keys(self, start: int, stop: int) -> list[str]:
        """The `key` column of [start, stop), or row numbers where there is none."""
        if self._key is None:
            return [f"{number:09d}" for number in range(start, stop)]
        if self._keys is None:
            columns = [file.read(columns=[self._key]).column(0) for file in self.files]
            self._keys = [str(key) for column in columns for key in column.to_pylist()]
        return self._keys[start:stop]

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The rows of [start, stop); only the row groups that hold them are read."""
        while start < stop:
            index = bisect.bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[index + 1])
            yield from self._read_file(index, start - self._starts[index], end - self._starts[index])
            start = end

    def _read_file(self, index: int, start: int, stop: int) -> Iterator[SourceRow]:
        file = self.files[index]
        group_starts = [0, *accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]
        first = bisect.bisect_right(group_starts, start) - 1
        last = bisect.bisect_left(group_starts, stop)
        position = group_starts[first]
        try:
            for batch in file.iter_batches(READ_BATCH_ROWS, row_groups=range(first, last)):
                if position + batch.num_rows > start and position < stop:
                    skip = max(0, start - position)
                    wanted = batch.slice(skip, min(stop, position + batch.num_rows) - position - skip)
                    for offset, row in enumerate(wanted.to_pylist()):
                        yield self._row(row, self._starts[index] + position + skip + offset)
                position += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{self.paths[index]}: damaged: {error}") from error

    def _row(self, row: dict[str, Any], number: int) -> SourceRow:
        image = row[self._image]
        if isinstance(image, dict):
            image = image.get("bytes")
        extra = {new: row[old] for old, new in self._extra.items()}
        url = row[self._url] if self._url else None
        alt_text = row[self._alt_text] if self._alt_text else None
        return SourceRow(
            key=str(row[self._key]) if self._key else f"{number:09d}",
            image=image,
            url=None if url is None else str(url),
            alt_text=None if alt_text is None else str(alt_text),
            download_error=None if image is not None else str(extra.get("download_error") or "no image bytes"),
            extra=extra,
        )


def _data_files(folder: Path) -> list[Path]:
    """A run's rows are in shards/ (download) or data/ (recaption); elsewhere every Parquet file counts."""
    for name in ("data", "shards"):
        if (folder / "fingerprint.json").exists() and any((folder / name).glob("*.parquet")):
            if not (folder / "manifest.json").exists():
                raise UserError(f"{folder}: is a run that is not complete; finish it first by its own command")
            return sorted((folder / name).glob("*.parquet"))
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def _image_column(schema: pa.Schema, path: Path) -> str:
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kind = kind.field("bytes").type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
            raise UserError(f"{path}: column {name!r} has type {kind}, expected bytes or a struct with bytes")
    if find_column(schema.names, URL_ALIASES):
        raise UserError(f"{path}: holds URLs but no image bytes; run `llm4gen-data download {path} --out DIR` first")
    raise UserError(
        f"{path}: missing column with image bytes (one of {', '.join(IMAGE_COLUMNS)}); found {', '.join(schema.names)}"
    )
