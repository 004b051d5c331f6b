"""What a source of images is, and how a path becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve

# A user's own source is given as `module:attribute@path`.
SOURCES = {
    "folder": "llm4gen_data.sources.folder:FolderSource",
    "webdataset": "llm4gen_data.sources.webdataset:WebDatasetSource",
    "parquet": "llm4gen_data.sources.parquet_images:ParquetSource",
}

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One input row: encoded image bytes (None if the download failed), its texts, and the columns passed through."""

    key: str
    image: bytes | None
    url: str | None = None
    alt_text: str | None = None
    download_error: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """Rows in a fixed order. `extra_schema` types the columns passed through in `SourceRow.extra`."""

    n_rows: int
    extra_schema: pa.Schema

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the rows: changes when files, their sizes or their columns do."""
        ...

    def keys(self, start: int, stop: int) -> list[str]:
        """The keys of the rows of [start, stop), in order, without reading an image."""
        ...

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The rows of [start, stop), in order."""
        ...


def open_source(path: str) -> Source:
    """The source at `path`: a folder of images, WebDataset tars, Parquet with image bytes, or a finished download.

    A prefix `name@` names the kind outright: `webdataset@/data/x`. Raises UserError when nothing fits.
    """
    kind, location = _split(path)
    where = Path(location)
    if not where.exists():
        raise UserError(f"{location}: no such file or folder")
    source: Source = resolve("source", kind or _kind(where), SOURCES)(where)
    if source.n_rows == 0:
        raise UserError(f"{path}: holds no rows")
    return source


def absolute(path: str) -> str:
    """The same source, named independently of the current folder."""
    kind, location = _split(path)
    return (f"{kind}@" if kind else "") + str(Path(location).absolute())


def _split(path: str) -> tuple[str | None, str]:
    name, at, location = path.partition("@")
    return (name, location) if at and (name in SOURCES or ":" in name) else (None, path)


def _kind(where: Path) -> str:
    suffixes = {where.suffix.lower()} if where.is_file() else _suffixes_below(where)
    if ".tar" in suffixes:
        return "webdataset"
    if suffixes & IMAGE_SUFFIXES:
        return "folder"
    if ".parquet" in suffixes:
        return "parquet"
    raise UserError(f"{where}: expected images, WebDataset .tar files or .parquet files with image bytes, found none")


def _suffixes_below(folder: Path) -> set[str]:
    # a run directory keeps its rows in shards/ (download) or data/ (recaption); everywhere else two levels are enough
    paths = [*folder.iterdir(), *folder.glob("*/*")]
    return {path.suffix.lower() for path in paths if path.is_file() and not path.name.startswith(".")}
