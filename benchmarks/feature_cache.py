"""Features of pictures that were encoded before, in one SQLite file that several processes may use at a time.

Key: what the encoder is (weights, preprocessing, dtype) and the sha256 of the decoded pixels. A batch goes in whole or
not at all, also where the process is killed.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llm4gen_data.errors import UserError

TABLE = """CREATE TABLE IF NOT EXISTS features
(encoder TEXT, pixels TEXT, dtype TEXT, crc32 INTEGER, data BLOB, UNIQUE (encoder, pixels))"""
DTYPES = ("float32", "float16")
TIMEOUT_S = 60.0  # for another process that is writing


class FeatureCache:
    """Raises UserError for a file that is no such cache or cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(path, timeout=TIMEOUT_S)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            with self._connection:
                self._connection.execute(TABLE)
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be used as feature cache: {error}") from error

    def get(self, encoder: str, pixels: Sequence[str]) -> np.ndarray | None:
        """Features [B, D] by `encoder` of the pictures with these sha256, None unless all are there and sound."""
        rows: list[np.ndarray] = []
        question = "SELECT dtype, crc32, data FROM features WHERE encoder = ? AND pixels = ?"
        for digest in pixels:
            try:
                found = self._connection.execute(question, (encoder, digest)).fetchone()
            except sqlite3.Error as error:
                raise UserError(f"{self.path}: cannot be read as feature cache: {error}") from error
            if found is None or found[0] not in DTYPES or zlib.crc32(found[2]) != found[1]:
                return None
            rows.append(np.frombuffer(found[2], dtype=found[0]))
        if len({(row.dtype, row.shape) for row in rows}) != 1:
            return None
        return np.stack(rows)

    def put(self, encoder: str, pixels: Sequence[str], features: np.ndarray) -> None:
        """Keep features [B, D], float32 or float16."""
        rows = []
        for digest, row in zip(pixels, features, strict=True):
            data = row.tobytes()
            rows.append((encoder, digest, str(row.dtype), zlib.crc32(data), data))
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: cannot be written as feature cache: {error}") from error

    def close(self) -> None:
        """Close the file; it stays."""
        self._connection.close()
