"""The scores of a run as they are made: an append-only file, a line an image, durable batch by batch.

Each line carries a checksum. After `kill -9` at any moment the file ends at worst in one torn line: the intact ones
are taken up again, the torn one and what follows are cut off and redone. A metric is known by what it is, not by its
name: another metric can be added to the same file later.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.records import Score


class ScoreJournal:
    """Scores by image number and metric name; `keys` says what each metric is, by a hash of its identity.

    The scores stay in the file, in memory is only where they are.
    """

    def __init__(self, path: Path, keys: Mapping[str, str]) -> None:
        self.keys = dict(keys)
        self._offsets: dict[int, dict[str, int]] = {}  # image -> key of a metric -> where its line begins
        self._end = self._load(path) if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(self._end)
        self._lines = path.open("rb")

    def missing(self, number: int) -> list[str]:
        """The names of the metrics that have not judged this image yet."""
        known = self._offsets.get(number, {})
        return [name for name, key in self.keys.items() if key not in known]

    def scores_of(self, number: int) -> dict[str, list[Score]]:
        """The scores of an image by metric name."""
        known = self._offsets.get(number, {})
        lines = {offset: self._line(offset) for offset in {known[key] for key in self.keys.values() if key in known}}
        return {
            name: [Score(**score) for score in lines[known[key]][key]]
            for name, key in self.keys.items()
            if key in known
        }

    def append(self, batch: Mapping[int, Mapping[str, list[Score]]]) -> None:
        """Record the scores of some images, on the disk before this returns."""
        offsets = []
        for number, by_metric in batch.items():
            plain = {self.keys[metric]: [asdict(score) for score in scores] for metric, scores in by_metric.items()}
            entry = json.dumps({"image": number, "scores": plain}, separators=(",", ":")).encode()
            line = b"%08x %s\n" % (zlib.crc32(entry), entry)
            self._file.write(line)
            offsets.append((number, plain, self._end))
            self._end += len(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        for number, plain, offset in offsets:
            self._offsets.setdefault(number, {}).update(dict.fromkeys(plain, offset))

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()
        self._lines.close()

    def _line(self, offset: int) -> dict[str, Any]:
        self._lines.seek(offset)
        scores: dict[str, Any] = json.loads(self._lines.readline().partition(b" ")[2])["scores"]
        return scores

    def _load(self, path: Path) -> int:
        sound = 0
        with path.open("rb") as file:
            for line in file:
                checksum, _, entry = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(entry):
                    break
                values = json.loads(entry)
                self._offsets.setdefault(values["image"], {}).update(dict.fromkeys(values["scores"], sound))
                sound += len(line)
        return sound
