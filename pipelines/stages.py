"""One command of a pipeline after the other, as a person would type them."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

COMMANDS = Path(sys.executable).parent
STOP_WAIT_S = 15


def stage(title: str, command: str, *arguments: object) -> None:
    """Announce and run one command of ours; a failing one ends the pipeline with its exit code.

    The command gets a process group of its own, so that Ctrl-C reaches it once, from here, and it can end in order.
    """
    words = [str(argument) for argument in arguments]
    click.secho(f"\n{title}", bold=True)
    click.echo(f"$ {command} {shlex.join(words)}")
    began = time.monotonic()
    process = subprocess.Popen([str(COMMANDS / command), *words], process_group=0)
    try:
        code = process.wait()
    except BaseException as stop:
        process.send_signal(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
        try:
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        if isinstance(stop, KeyboardInterrupt):
            sys.exit(130)  # the command has said that it goes on from here, and so does the pipeline
        raise
    if code != 0:
        message = f"The command above failed with exit code {code}; mend it, and the same command goes on from here."
        click.echo(message, err=True)
        sys.exit(code if code > 0 else 128 - code)
    click.echo(f"({time.monotonic() - began:.0f} s)")
