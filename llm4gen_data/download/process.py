"""img2dataset as a process group of its own that ends with us, its chatter in a log."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from llm4gen_data.registry import missing_package

# img2dataset imports wandb and albumentations: neither shall report or look for updates.
QUIET_ENVIRONMENT = {"WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONUNBUFFERED": "1"}
LOG_TAIL_BYTES = 20_000


def require_img2dataset() -> None:
    """Raise UserError with what to install if img2dataset is missing; it is looked for, not imported."""
    if importlib.util.find_spec("img2dataset") is None:
        raise missing_package("download", ModuleNotFoundError(name="img2dataset"))


@contextlib.contextmanager
def img2dataset_process(request: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run fetch.py on `request` while the block runs; its whole process group is killed when the block ends.

    Killing loses nothing: a shard of img2dataset counts from its statistics file on, ours from its marker on.
    If this process is killed, the pipe to the child's standard input closes and the child ends itself.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm4gen_data.download.fetch", str(request)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | QUIET_ENVIRONMENT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def last_words(log: Path) -> str:
    """The line of img2dataset's log that most likely says what went wrong: its last error, or else its last line."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").replace("\r", "\n").splitlines()]
        lines = [line for line in lines if line and not line.startswith(("^", "~")) and "it/s]" not in line]
        errors = [line for line in lines if "error" in line.lower() or "killed" in line.lower()]
        for line in (*errors[-1:], *lines[-1:]):
            return line[:300]
    return "nothing in its log"
