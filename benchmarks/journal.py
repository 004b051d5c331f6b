"""The scores of a run as they are made: an append-only file, a line an image, durable batch by batch.

Each line carries a checksum. After `kill -9` at any moment the file ends at worst in one torn line: the intact ones
are taken up again, the torn one and what follows are cut off and redone.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.records import Score


class ScoreJournal:
    """Scores by image number and metric name."""

    def __init__(self, path: Path) -> None:
        self.scores: dict[int, dict[str, list[Score]]] = {}
        sound = self._load(path) if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(sound)

    def append(self, batch: Mapping[int, dict[str, list[Score]]]) -> None:
        """Record the scores of some images, on the disk before this returns."""
        for number, by_metric in batch.items():
            plain = {metric: [asdict(score) for score in scores] for metric, scores in by_metric.items()}
            line = json.dumps({"image": number, "scores": plain}, separators=(",", ":")).encode()
            self._file.write(b"%08x %s\n" % (zlib.crc32(line), line))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.scores.update(batch)

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def _load(self, path: Path) -> int:
        sound = 0
        with path.open("rb") as file:
            for line in file:
                checksum, _, entry = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(entry):
                    break
                values = json.loads(entry)
                self.scores[values["image"]] = {
                    metric: [Score(**score) for score in scores] for metric, scores in values["scores"].items()
                }
                sound += len(line)
        return sound
