"""WebDataset tars, img2dataset's among them: with its Parquet beside a tar, failed rows are rows here too."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.sources.files import File, list_files
from llm4gen_data.sources.images import MAX_IMAGE_BYTES
from llm4gen_data.sources.source import IMAGE_SUFFIXES, SourceRow, as_text

MAX_TEXT_BYTES = 2**20
# Indexes of tars kept; readers of consecutive ranges need one or two.
MAX_INDEXES = 4
SIDECAR_COLUMNS = ("key", "url", "caption", "error_message")


@dataclass(slots=True)
class Sample:
    """Where a sample's files lie in its tar: suffix -> (offset, size) in bytes; and what the Parquet says of it."""

    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    url: str | None = None
    alt_text: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar and img2dataset's Parquet beside it, with the number of samples and a hash over both."""

    file: File
    sidecar: File | None
    n_rows: int
    digest: str

    @property
    def stem(self) -> str:
        """What the keys of its samples begin with."""
        return PurePosixPath(self.file.name).stem


class WebDatasetSource:
    """Samples of sorted `.tar` files in tar order; a tar's Parquet sidecar adds the rows that failed to download.

    A tar with a sidecar is not touched before its samples are asked for. Of few tars at a time an index is kept.
    """

    extra_schema = pa.schema([])

    def __init__(self, location: str) -> None:
        files = sorted((file for file in list_files(location) if file.suffix == ".tar"), key=lambda file: file.name)
        self._indexes: OrderedDict[int, dict[str, Sample]] = OrderedDict()
        self._lock = threading.Lock()
        self.tars = [self._open(number, file) for number, file in enumerate(files)]
        self._starts = [0, *accumulate(tar.n_rows for tar in self.tars)]
        self.n_rows = self._starts[-1]

    def fingerprint(self) -> dict[str, Any]:
        """Names and sizes of the tars, and the places of their samples or the footers of their sidecars."""
        listing = "\n".join(f"{tar.file.name}\t{tar.file.size}\t{tar.n_rows}\t{tar.digest}" for tar in self.tars)
        digest = hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()[:16]
        return {"kind": "webdataset", "n_rows": self.n_rows, "files": digest}

    def keys(self, start: int, stop: int) -> list[str]:
        """`tar/sample` for the samples of [start, stop)."""
        return [key for _, key, _ in self._samples(start, stop)]

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The samples of [start, stop), read from the tars by offset. Raises UserError if a tar cannot be read."""
        opened: tuple[Tar, BinaryIO] | None = None
        try:
            for tar, key, sample in self._samples(start, stop):
                if opened is None or opened[0] is not tar:
                    if opened is not None:
                        opened[1].close()
                    opened = (tar, tar.file.open())
                yield _row(key, sample, opened[1])
        except OSError as error:
            raise UserError(f"{tar.file}: cannot be read: {error}") from error
        finally:
            if opened is not None:
                opened[1].close()

    def _samples(self, start: int, stop: int) -> Iterator[tuple[Tar, str, Sample]]:
        while start < min(stop, self.n_rows):
            number = bisect_right(self._starts, start) - 1
            first, end = self._starts[number], min(stop, self._starts[number + 1])
            tar = self.tars[number]
            for key, sample in list(self._index(number, tar.file, tar.sidecar).items())[start - first : end - first]:
                yield tar, as_text(f"{tar.stem}/{key}") or "", sample
            start = end

    def _open(self, number: int, file: File) -> Tar:
        sidecar = file.sibling(f"{PurePosixPath(file.path).stem}.parquet")
        if sidecar is not None:
            footer = _read_sidecar_footer(sidecar)
            return Tar(file, sidecar, footer.num_rows, hashlib.sha256(str(footer.to_dict()).encode()).hexdigest())
        index = self._index(number, file, None)
        places = "\n".join(f"{key}\t{sample.parts}" for key, sample in index.items())
        return Tar(file, None, len(index), hashlib.sha256(places.encode(errors="surrogateescape")).hexdigest())

    def _index(self, number: int, file: File, sidecar: File | None) -> dict[str, Sample]:
        with self._lock:
            index = self._indexes.pop(number, None) or _read_index(file, sidecar)
            self._indexes[number] = index
            if len(self._indexes) > MAX_INDEXES:
                self._indexes.popitem(last=False)
            return index


def _read_index(file: File, sidecar: File | None) -> dict[str, Sample]:
    samples = {} if sidecar is None else _read_sidecar(sidecar)
    n_listed = len(samples)
    try:
        with file.open() as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member it has seen
                if member.isreg():
                    folder, slash, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    sample = samples.setdefault(folder + slash + stem, Sample())
                    sample.parts[suffix.lower()] = (member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise UserError(f"{file}: not a readable tar file: {error}") from error
    if sidecar is not None and len(samples) > n_listed:
        stray = next(key for number, key in enumerate(samples) if number == n_listed)
        raise UserError(f"{file}: holds sample {stray!r}, which {sidecar} does not list")
    return samples


def _read_sidecar_footer(sidecar: File) -> Any:
    try:
        with sidecar.open() as opened:
            footer = pq.read_metadata(opened)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{sidecar}: not a Parquet file: {error}") from error
    if "key" not in footer.schema.names:
        raise UserError(f"{sidecar}: missing column 'key'; found {', '.join(footer.schema.names)}")
    return footer


def _read_sidecar(sidecar: File) -> dict[str, Sample]:
    try:
        with sidecar.open() as opened, pq.ParquetFile(opened) as parquet:
            columns = [name for name in SIDECAR_COLUMNS if name in parquet.schema_arrow.names]
            rows = parquet.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{sidecar}: cannot be read: {error}") from error
    samples = {
        str(row["key"]): Sample(
            url=as_text(row.get("url")), alt_text=as_text(row.get("caption")), error=as_text(row.get("error_message"))
        )
        for row in sorted(rows, key=lambda row: str(row["key"]))
    }
    if len(samples) < len(rows):
        raise UserError(f"{sidecar}: lists {len(rows) - len(samples)} keys more than once")
    return samples


def _row(key: str, sample: Sample, tar: BinaryIO) -> SourceRow:
    suffix = next((suffix for suffix in sample.parts if f".{suffix}" in IMAGE_SUFFIXES), None)
    image, error = None, sample.error or "no image in the sample"
    if suffix is not None:
        size = sample.parts[suffix][1]
        image = _part(tar, sample, suffix, MAX_IMAGE_BYTES)
        if size > MAX_IMAGE_BYTES:
            image, error = None, f"{size} bytes, over the limit of {MAX_IMAGE_BYTES} bytes"
    meta = _json(_part(tar, sample, "json", MAX_TEXT_BYTES))
    text = _part(tar, sample, "txt", MAX_TEXT_BYTES)
    alt_text = as_text(text if text is not None else meta.get("caption"))
    return SourceRow(
        key=key,
        image=image,
        url=as_text(meta.get("url")) or sample.url,
        alt_text=alt_text if alt_text is not None else sample.alt_text,
        download_error=None if image is not None else error,
    )


def _part(tar: BinaryIO, sample: Sample, suffix: str, max_bytes: int) -> bytes | None:
    if suffix not in sample.parts:
        return None
    offset, size = sample.parts[suffix]
    tar.seek(offset)
    return tar.read(min(size, max_bytes))


def _json(data: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}
