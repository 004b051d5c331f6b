"""Run one command of a plan: those of the model and the evaluator in this process, which spares their long start."""

from __future__ import annotations

import gc
import shlex
import time
from collections.abc import Sequence

import click

from benchmarks.cli import commands as bench
from llm4gen_model.cli import commands as model
from pipelines.reproduce.plan import BENCH, MODEL
from pipelines.stages import stage

GROUPS: dict[str, click.Group] = {MODEL: model, BENCH: bench}


def carry_out(title: str, words: Sequence[str]) -> None:
    """Announce the command as a person would type it, and run it. Raises what it raises; others end the pipeline."""
    command, *arguments = words
    if command not in GROUPS:
        stage(title, command, *arguments)
        return
    click.secho(f"\n{title}", bold=True)
    click.echo(f"$ {shlex.join(words)}")
    began = time.monotonic()
    GROUPS[command].main(list(arguments), prog_name=command, standalone_mode=False)
    gc.collect()  # pipelines are full of cycles, and the next command loads its own
    click.echo(f"({time.monotonic() - began:.0f} s)")
