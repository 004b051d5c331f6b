"""WebDataset tars, img2dataset's among them: with its Parquet beside a tar, failed rows are rows here too."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.sources.source import IMAGE_SUFFIXES, SourceRow


class WebDatasetSource:
    """Samples of sorted `.tar` files in tar order; a tar's Parquet sidecar adds the rows that failed to download."""

    extra_schema = pa.schema([])

    def __init__(self, path: Path) -> None:
        self.tars = [path] if path.is_file() else sorted(path.rglob("*.tar"))
        self._samples = [_index(tar) for tar in self.tars]
        self._rows = [(tar, key) for tar, samples in enumerate(self._samples) for key in samples]
        self.n_rows = len(self._rows)

    def fingerprint(self) -> dict[str, Any]:
        """Names and sizes of the tars, and the sample keys."""
        listing = [f"{tar.name}\t{tar.stat().st_size}" for tar in self.tars] + [key for _, key in self._rows]
        digest = hashlib.sha256("\n".join(listing).encode()).hexdigest()[:16]
        return {"kind": "webdataset", "n_rows": self.n_rows, "files": digest}

    def keys(self, start: int, stop: int) -> list[str]:
        """`tar/sample` for the samples of [start, stop)."""
        return [f"{self.tars[tar].stem}/{key}" for tar, key in self._rows[start:stop]]

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The samples of [start, stop), read from the tars by offset."""
        for tar, key in self._rows[start:stop]:
            sample = self._samples[tar][key]
            with self.tars[tar].open("rb") as file:
                parts = {suffix: _part(file, *place) for suffix, place in sample.parts.items()}
            image = next((data for suffix, data in parts.items() if f".{suffix}" in IMAGE_SUFFIXES), None)
            meta = _json(parts.get("json"))
            text = parts["txt"].decode("utf-8", errors="replace") if "txt" in parts else meta.get("caption")
            yield SourceRow(
                key=f"{self.tars[tar].stem}/{key}",
                image=image,
                url=meta.get("url") or sample.url,
                alt_text=text if text is not None else sample.alt_text,
                download_error=None if image is not None else sample.error or "no image in the sample",
            )


class _Sample:
    """Where a sample's files lie in its tar: suffix -> (offset, size) in bytes."""

    __slots__ = ("alt_text", "error", "parts", "url")

    def __init__(self, url: str | None = None, alt_text: str | None = None, error: str | None = None) -> None:
        self.parts: dict[str, tuple[int, int]] = {}
        self.url, self.alt_text, self.error = url, alt_text, error


def _index(tar: Path) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    sidecar = tar.with_suffix(".parquet")
    if sidecar.is_file():
        columns = {"key", "url", "caption", "error_message"} & set(open_parquet(sidecar).schema_arrow.names)
        for row in sorted(open_parquet(sidecar).read(columns=sorted(columns)).to_pylist(), key=lambda row: row["key"]):
            samples[row["key"]] = _Sample(row.get("url"), row.get("caption"), row.get("error_message"))
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if member.isfile():
                    folder, slash, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    sample = samples.setdefault(folder + slash + stem, _Sample())
                    sample.parts[suffix.lower()] = (member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{tar}: not a readable tar file: {error}") from error
    return samples


def _part(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    data: bytes = file.read(size)
    return data


def _json(data: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(data) if data else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}
