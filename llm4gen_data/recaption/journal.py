"""An append-only file of finished captions inside a shard: after kill -9 only what was in flight is done again.

A line is `crc32 JSON`. A torn or damaged line ends the journal: it and what follows are cut off and redone.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

# A power cut loses at most this much finished work; kill -9 loses none, as the pages are the kernel's by then.
SYNC_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row: a caption, or a status other than "success" with the reason; sizes in pixels."""

    status: str
    error_message: str | None = None
    caption_raw: str | None = None
    finish_reason: str | None = None
    n_output_tokens: int | None = None
    width: int | None = None
    height: int | None = None
    seen_width: int | None = None
    seen_height: int | None = None


class Journal:
    """The outcomes of one shard by row number, each written before it counts as done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[int, Outcome] = {}
        sound = self._load() if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(sound)
        self._synced_at = time.monotonic()

    def append(self, row: int, outcome: Outcome) -> None:
        """Record the outcome of `row`, written before this returns."""
        entry = {"row": row, **asdict(outcome)}
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(line), line))
        self._file.flush()
        self.outcomes[row] = outcome
        if time.monotonic() - self._synced_at > SYNC_INTERVAL_S:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the file; it stays until its shard is durable."""
        self._file.close()

    def _load(self) -> int:
        sound = 0
        with self.path.open("rb") as file:
            for line in file:
                checksum, _, entry = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(entry):
                    break
                values = json.loads(entry)
                row = values.pop("row")
                self.outcomes[row] = Outcome(**values)
                sound += len(line)
        return sound
