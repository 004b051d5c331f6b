"""What a source of images is, and how a path becomes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve
from llm4gen_data.sources.files import is_url, list_files, local_path

# A user's own source is given as `module:attribute@path`.
SOURCES = {
    "folder": "llm4gen_data.sources.folder:FolderSource",
    "webdataset": "llm4gen_data.sources.webdataset:WebDatasetSource",
    "parquet": "llm4gen_data.sources.parquet_images:ParquetSource",
}

# `kind@location`; an @ further on belongs to the location (hf://datasets/owner/name@revision)
KIND = re.compile(rf"({'|'.join(SOURCES)}|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)@(.+)", re.DOTALL)
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
    """Rows in a fixed order, made from a location; `extra_schema` types what is passed through in `SourceRow.extra`.

    Several threads may read side by side. A process opens its own: opening reads no image.
    """

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
    """The source at `path`: a folder of images, WebDataset tars, Parquet with image bytes, a Hugging Face data set.

    A path or any URL that fsspec opens. A prefix `name@` names the kind outright: `webdataset@/data/x`, or a
    class of one's own as `module:attribute@location`. Raises UserError when nothing fits.
    """
    kind, location = _split(path)
    source: Source = resolve("source", kind or _kind(location), SOURCES)(location)
    if source.n_rows == 0:
        raise UserError(f"{path}: holds no rows")
    return source


def absolute(path: str) -> str:
    """The same source, named independently of the current folder."""
    kind, location = _split(path)
    return (f"{kind}@" if kind else "") + (location if is_url(location) else str(local_path(location).absolute()))


def as_text(value: Any) -> str | None:
    """Whatever stands in a text column as a string that UTF-8 can hold; None for None, NaN and an empty list.

    Of a list (several captions of an image) the first counts. Control characters stay.
    """
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or value != value:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value).encode("utf-8", errors="backslashreplace").decode("utf-8")


def _split(path: str) -> tuple[str | None, str]:
    match = KIND.fullmatch(path)
    return (match[1], match[2]) if match else (None, path)


def _kind(location: str) -> str:
    names, suffixes = set(), set()
    # a run directory keeps its rows in shards/ (download) or data/ (recaption); everywhere else two levels are enough
    for file in list_files(location, max_depth=2):
        suffixes.add(file.suffix)
        if file.suffix in (".json", ".parquet"):
            names.add(file.name)
    if ".tar" in suffixes:
        return "webdataset"
    if {"state.json", "dataset_dict.json"} & names or ("fingerprint.json" in names and _has_shards(names)):
        return "parquet"  # whatever figures lie beside the rows
    if suffixes & IMAGE_SUFFIXES:
        return "folder"
    if suffixes & {".parquet", ".arrow"}:
        return "parquet"
    raise UserError(
        f"{location}: expected images, WebDataset .tar files or .parquet files with image bytes, found none"
    )


def _has_shards(names: set[str]) -> bool:
    return any(name.startswith(("data/", "shards/")) and name.endswith(".parquet") for name in names)
