"""Run the installed commands as a user does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def heed_ctrl_c() -> None:
    """For `preexec_fn`: a process started from a background job inherits that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*arguments: object, timeout_s: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command to its end, output captured."""
    command = [str(BIN / str(arguments[0])), *map(str, arguments[1:])]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **environment}, check=False
    )


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The same, in its own session, so that it can be killed in the middle."""
    command = [str(BIN / str(arguments[0])), *map(str, arguments[1:])]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
        env={**os.environ, **environment},
    )


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The command failed with `code` and one clear line on stderr that holds `words`; no traceback."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(errors) == 1, result.stderr
    for word in words:
        assert word in errors[0], errors[0]
