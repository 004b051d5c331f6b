"""One command of a plan in a process of its own, forked from one that has done the long imports; output to its log."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import sys
import threading
from datetime import datetime
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import click

from benchmarks.cli import commands as bench
from llm4gen_data.options import one_line_errors
from llm4gen_model.cli import commands as model
from pipelines.reproduce.plan import BENCH, MODEL
from pipelines.stages import COMMANDS, stage

GROUPS: dict[str, click.Group] = {MODEL: model, BENCH: bench}
# What nearly every command imports, for seconds each time; none of it starts a thread.
LONG_IMPORTS = ["llm4gen_model.training.run", "llm4gen_model.generate.run", "benchmarks.run", "scipy.stats"]


def prepare(threads: int) -> None:
    """Have commands use so many CPU threads each, and start the process that they are forked from.

    The number decides the last bits of what they compute, so that it does not follow from how many run at once.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    multiprocessing.set_forkserver_preload(LONG_IMPORTS)
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process, which has the others stop
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heeded)


def start(words: tuple[str, ...], log: Path) -> BaseProcess:
    """Start the command; what it says is added to `log`. SIGTERM ends it in order."""
    process = multiprocessing.get_context("forkserver").Process(target=_work, args=(words, str(log)))
    process.start()
    return process


def _work(words: tuple[str, ...], log: str) -> None:
    os.setpgid(0, 0)  # with what it starts itself
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threading.Thread(target=_die_with_parent, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    # for launchers such as torchrun, which look for the command that they start
    os.environ["PATH"] = os.pathsep.join([str(COMMANDS), os.environ.get("PATH", os.defpath)])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    title = f"# {datetime.now().astimezone().isoformat(timespec='seconds')}"
    command, *arguments = words
    if command not in GROUPS:
        stage(title, command, *arguments)
        return
    click.echo(f"\n{title}\n$ {shlex.join(words)}")
    sys.argv = list(words)
    one_line_errors(GROUPS[command])()


def _die_with_parent() -> None:
    """After `kill -9` of the experiment nothing goes on unseen."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
