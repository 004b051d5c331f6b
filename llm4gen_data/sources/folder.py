"""A folder of images, with alt texts from Hugging Face's metadata tables or from `.txt` files beside the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llm4gen_data.errors import UserError
from llm4gen_data.sources.files import File, is_url, list_files, local_path
from llm4gen_data.sources.images import MAX_IMAGE_BYTES
from llm4gen_data.sources.laion import ALT_TEXT_ALIASES, URL_ALIASES, find_column
from llm4gen_data.sources.source import IMAGE_SUFFIXES, SourceRow, as_text

# Hugging Face's ImageFolder convention (a `file_name` column), and the truth table of `llm4gen-data scenes`.
METADATA_FILES = ("metadata.parquet", "metadata.csv", "metadata.jsonl", "scenes.parquet")
MAX_TEXT_BYTES = 2**20
# Lists of Python strings are turned into Arrow's, a fifth of the size, after so many.
PIECE_ROWS = 65536


class FolderSource:
    """Every image below a folder, by relative path; the key is that path. About 100 bytes a file are kept."""

    extra_schema = pa.schema([])

    def __init__(self, location: str) -> None:
        self.location = location
        metadata: list[File] = []
        sidecars: list[str] = []
        pieces: list[pa.Table] = []
        rows: list[tuple[str, str, int]] = []
        self._filesystem: Any = None
        for file in list_files(location):
            self._filesystem = file.filesystem
            if file.suffix in IMAGE_SUFFIXES:
                rows.append((as_text(file.name) or "", _encoded(file.path), file.size))
                if len(rows) == PIECE_ROWS:
                    pieces.append(_table(rows))
                    rows = []
            elif file.suffix == ".txt":
                sidecars.append(file.name.removesuffix(".txt"))
            elif PurePosixPath(file.name).name in METADATA_FILES:
                metadata.append(file)
        if not is_url(location) and (path := local_path(location)).is_file():
            beside = [File(str(path), path.name, 0).sibling(name) for name in METADATA_FILES]
            metadata = [file for file in beside if file is not None]
        files = pa.concat_tables([*pieces, _table(rows)]).combine_chunks()
        self._files = files.take(pc.sort_indices(files, [("name", "ascending")]))
        self.n_rows = self._files.num_rows
        self._texts = _texts(self._files["name"], metadata)
        self._sidecars = frozenset(sidecars)

    def fingerprint(self) -> dict[str, Any]:
        """Names and sizes of the images."""
        digest = hashlib.sha256()
        for batch in self._files.select(["name", "size"]).to_batches(max_chunksize=PIECE_ROWS):
            names, sizes = (column.to_pylist() for column in batch.columns)
            digest.update("".join(f"{name}\t{size}\n" for name, size in zip(names, sizes, strict=True)).encode())
        return {"kind": "folder", "n_rows": self.n_rows, "files": digest.hexdigest()[:16]}

    def keys(self, start: int, stop: int) -> list[str]:
        """The relative paths of [start, stop)."""
        keys: list[str] = self._files["name"].slice(start, stop - start).to_pylist()
        return keys

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The images of [start, stop) by sorted relative path; a file that cannot be read is a row without image."""
        files = self._files.slice(start, stop - start).to_pylist()
        texts = self._texts.slice(start, stop - start).to_pylist() if self._texts is not None else [{}] * len(files)
        for row, text in zip(files, texts, strict=True):
            file = File(_decoded(row["path"]), row["name"], row["size"], self._filesystem)
            image, error = _read_image(file)
            alt_text = text.get("alt_text")
            if alt_text is None and str(PurePosixPath(file.name).with_suffix("")) in self._sidecars:
                alt_text = _sidecar_text(file)
            yield SourceRow(row["name"], image, url=text.get("url"), alt_text=alt_text, download_error=error)


def _table(rows: list[tuple[str, str, int]]) -> pa.Table:
    schema = pa.schema([("name", pa.large_string()), ("path", pa.large_binary()), ("size", pa.int64())])
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def _encoded(path: str) -> Any:
    # a name on a local disk need not be UTF-8
    return path.encode("utf-8", errors="surrogateescape")


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", errors="surrogateescape")


def _read_image(file: File) -> tuple[bytes | None, str | None]:
    if file.size > MAX_IMAGE_BYTES:
        return None, f"{file.size} bytes, over the limit of {MAX_IMAGE_BYTES} bytes"
    try:
        return file.read(0, MAX_IMAGE_BYTES), None
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"


def _sidecar_text(file: File) -> str | None:
    sidecar = file.sibling(f"{PurePosixPath(file.path).stem}.txt")
    try:
        return as_text(sidecar.read(0, MAX_TEXT_BYTES).strip()) if sidecar else None
    except OSError:
        return None


def _texts(names: Any, metadata: list[File]) -> pa.Table | None:
    """`url` and `alt_text` of each name, null where no metadata table speaks of it."""
    if not metadata:
        return None
    tables = pa.concat_tables([_read_metadata(file) for file in sorted(metadata, key=lambda file: file.name)])
    return tables.take(pc.index_in(names, value_set=tables["name"])).select(["url", "alt_text"])


def _read_metadata(file: File) -> pa.Table:
    try:
        with file.open() as opened:
            if file.suffix == ".jsonl":
                frame = pd.read_json(opened, lines=True, dtype=False, convert_dates=False)
            elif file.suffix == ".csv":
                # "NA" may be a text; that nothing is nothing, CSV cannot say otherwise
                frame = pd.read_csv(
                    opened, dtype=str, encoding_errors="replace", keep_default_na=False, na_values=[""]
                )
            else:
                frame = pd.read_parquet(opened)
    except (ValueError, OSError, RecursionError, pa.ArrowException) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
    names = [str(name) for name in frame.columns]
    frame.columns = pd.Index(names)
    if "file_name" not in names:
        raise UserError(f"{file}: missing column 'file_name'; found {', '.join(names)}")
    folder = file.name.rpartition("/")[0]
    columns: dict[str, list[str | None]] = {"name": [f"{folder}/{name}".lstrip("/") for name in frame["file_name"]]}
    for new, aliases in (("url", URL_ALIASES), ("alt_text", ALT_TEXT_ALIASES)):
        old = find_column(names, aliases)
        columns[new] = [as_text(value) for value in frame[old]] if old else [None] * len(frame)
    return pa.table({name: pa.array(values, pa.large_string()) for name, values in columns.items()})
