"""An append-only file of finished rows inside a shard: after kill -9 only what was in flight is done again.

A line is `crc32 JSON`. A torn or damaged line ends the journal: it and what follows are cut off and redone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path

# A power cut loses at most this much finished work; kill -9 loses none, as the pages are the kernel's by then.
SYNC_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote for one instruction."""

    caption_raw: str
    finish_reason: str
    n_output_tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row: an answer an instruction, or a status other than "success" with the reason.

    Sizes are pixels. `objects_named` and `objects_denied` are null unless the model was asked about its objects.
    """

    status: str
    error_message: str | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    seen_width: int | None = None
    seen_height: int | None = None
    objects_named: list[str] | None = None
    objects_denied: list[str] | None = None


class Journal:
    """The outcomes of one shard by row number, each written before it counts as done.

    The file is locked while it is open. Raises UserError if another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[int, Outcome] = {}
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"{path}: another process is captioning these rows") from error
        self._file.truncate(self._load())
        self._synced_at = time.monotonic()

    def append(self, outcomes: Mapping[int, Outcome]) -> None:
        """Record outcomes by row number, written before this returns."""
        self._file.write(b"".join(_line(row, outcome) for row, outcome in outcomes.items()))
        self._file.flush()
        self.outcomes.update(outcomes)
        if time.monotonic() - self._synced_at > SYNC_INTERVAL_S:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the file; it stays until its shard is durable."""
        self._file.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    def _load(self) -> int:
        sound = 0
        with self.path.open("rb") as file:
            for line in file:
                checksum, _, entry = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(entry):
                    break
                values = json.loads(entry)
                row = values.pop("row")
                answers = {name: Answer(*answer) for name, answer in values.pop("answers").items()}
                self.outcomes[row] = Outcome(**values, answers=answers)
                sound += len(line)
        return sound


def write_journal(path: Path, outcomes: Mapping[int, Outcome]) -> None:
    """Write a whole journal atomically: that of a shard some of whose rows are to be done again."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(_line(row, outcome) for row, outcome in outcomes.items()))


def _line(row: int, outcome: Outcome) -> bytes:
    # by hand, as dataclasses.asdict would take several times as long as the rest
    entry: dict[str, Any] = {
        "row": row,
        "status": outcome.status,
        "error_message": outcome.error_message,
        "answers": {
            name: (answer.caption_raw, answer.finish_reason, answer.n_output_tokens)
            for name, answer in outcome.answers.items()
        },
        "width": outcome.width,
        "height": outcome.height,
        "seen_width": outcome.seen_width,
        "seen_height": outcome.seen_height,
        "objects_named": outcome.objects_named,
        "objects_denied": outcome.objects_denied,
    }
    line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(line), line)
