"""Back ends that live in an interpreter or program of their own, so that their packages hurt nobody.

The program is started once and answers one line of JSON on its standard output to each line of JSON on its standard
input; the last line on its standard error is told when it fails. Pictures are handed over as PNG files.
docs/metrics.md describes the requests.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from PIL.Image import Image

from llm4gen_data.errors import UserError

MAX_LINE_BYTES = 64 * 1024 * 1024
N_ERROR_CHARS, N_ERROR_BYTES = 500, 16 * 1024


class ExternalProgram:
    """A program that answers JSON lines; started by the first question, ended with this object.

    `command` is split as a shell would, but no shell runs it; `environment` is added to this process's, None takes a
    variable away. Raises UserError if there is no such program.
    """

    def __init__(
        self, name: str, command: str, timeout_s: float, environment: Mapping[str, str | None] | None = None
    ) -> None:
        self.name, self.command, self.timeout_s = name, command, timeout_s
        words = shlex.split(command)
        if not words or shutil.which(words[0]) is None:
            raise UserError(f"{name}: command {command!r}: no such program")
        self._words = words
        merged = {**os.environ, **(environment or {})}
        self._environment = {key: value for key, value in merged.items() if value is not None}
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self, request: Mapping[str, Any], timeout_s: float | None = None, *, may_fail: bool = False
    ) -> dict[str, Any]:
        """The answer to a request, within `timeout_s` if that is given.

        Raises UserError if there is none in time, or none that is a JSON object, or, unless it `may_fail`, one with
        `error`.
        """
        stdin = self._process.stdin if self._process else self._start()
        assert stdin is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise self._failed("ended") from None
        try:
            line = self._lines.get(timeout=timeout_s or self.timeout_s)
        except queue.Empty:
            raise self._failed(f"gave no answer in {timeout_s or self.timeout_s:g} s") from None
        if line is None:
            raise self._failed("ended")
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._failed(f"answered {line[:100]!r}, expected a line of JSON") from None
        if not isinstance(answer, dict):
            raise self._failed(f"answered {line[:100]!r}, expected a JSON object")
        if "error" in answer and not may_fail:
            raise self._failed(f"answered {' '.join(str(answer['error']).split())[:N_ERROR_CHARS]}")
        return answer

    def _start(self) -> IO[bytes] | None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the program
        try:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._environment,
            )
        except OSError as error:
            raise UserError(f"{self.name}: command {self.command!r}: {error.strerror}") from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_read_lines, args=(self._process.stdout, self._lines), daemon=True).start()
        weakref.finalize(self, _end, self._process)
        return self._process.stdin

    def _failed(self, what: str) -> UserError:
        """Ends the program, so that an answer that comes too late is not taken for another one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - N_ERROR_BYTES))
        told = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {told[-1].strip()[-N_ERROR_CHARS:]}" if told else ""
        return UserError(f"{self.name}: {self.command!r} {what}{last}")


def save_pictures(images: Sequence[Image], folder: Path) -> list[str]:
    """Each picture as a PNG file in `folder`; their paths, in order."""
    paths = [folder / f"{number:06d}.png" for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path, compress_level=1)
    return [str(path) for path in paths]


def _read_lines(stdout: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    while line := stdout.readline(MAX_LINE_BYTES):
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # what was not written any more
                continue
