"""A plain folder of images, with alt texts from a metadata table or from `.txt` files beside the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.sources.laion import ALT_TEXT_ALIASES, URL_ALIASES, find_column
from llm4gen_data.sources.source import IMAGE_SUFFIXES, SourceRow

# Hugging Face's ImageFolder convention (a `file_name` column), and the truth table of `llm4gen-data scenes`.
METADATA_FILES = ("metadata.parquet", "metadata.csv", "metadata.jsonl", "scenes.parquet")


class FolderSource:
    """Every image below a folder, by relative path; the key is that path."""

    extra_schema = pa.schema([])

    def __init__(self, folder: Path) -> None:
        self.folder = folder if folder.is_dir() else folder.parent
        if folder.is_file():
            self.names = [folder.name]
        else:
            self.names = sorted(
                path.relative_to(folder).as_posix()
                for path in folder.rglob("*")
                if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
            )
        self.n_rows = len(self.names)
        self._texts = self._read_metadata()

    def fingerprint(self) -> dict[str, Any]:
        """Names and sizes of the images."""
        listing = "\n".join(f"{name}\t{(self.folder / name).stat().st_size}" for name in self.names)
        return {"kind": "folder", "n_rows": self.n_rows, "files": hashlib.sha256(listing.encode()).hexdigest()[:16]}

    def keys(self, start: int, stop: int) -> list[str]:
        """The relative paths of [start, stop)."""
        return self.names[start:stop]

    def read(self, start: int, stop: int) -> Iterator[SourceRow]:
        """The images of [start, stop) by sorted relative path."""
        for name in self.names[start:stop]:
            url, alt_text = self._texts.get(name, (None, None))
            sidecar = (self.folder / name).with_suffix(".txt")
            if alt_text is None and sidecar.is_file():
                alt_text = sidecar.read_text(encoding="utf-8", errors="replace").strip()
            yield SourceRow(key=name, image=(self.folder / name).read_bytes(), url=url, alt_text=alt_text)

    def _read_metadata(self) -> dict[str, tuple[str | None, str | None]]:
        path = next((self.folder / name for name in METADATA_FILES if (self.folder / name).is_file()), None)
        if path is None:
            return {}
        try:
            if path.suffix == ".jsonl":
                table = pd.read_json(path, lines=True)
            else:
                table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
        if "file_name" not in table.columns:
            raise UserError(f"{path}: missing column 'file_name'; found {', '.join(map(str, table.columns))}")
        columns = [find_column(list(table.columns), aliases) for aliases in (URL_ALIASES, ALT_TEXT_ALIASES)]
        texts = [table[column] if column else pd.Series([None] * len(table)) for column in columns]
        return {
            str(name): (_text(url), _text(alt))
            for name, url, alt in zip(table["file_name"], texts[0], texts[1], strict=True)
        }


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
