"""What the commands that look at images share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --images, --layout and --prompts, which the command takes as `images`, `layout` and `prompts`."""
    for add in (
        click.option(
            "--prompts",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File of the prompts of --images, where the layout needs one.  [default: those of the suite, if any]",
        ),
        click.option(
            "--layout",
            metavar="NAME",
            help="How the folders are laid out: manifest, t2i-compbench, geneval, evalscope or folder.  "
            "[default: manifest]",
        ),
        click.option(
            "--images",
            multiple=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder that `llm4gen-model generate` wrote, or another tool (--layout); repeatable.",
        ),
    ):
        command = add(command)
    return command
