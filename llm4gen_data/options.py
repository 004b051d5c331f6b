"""What every command shares: `--config --set --out --dry-run`, and mistakes told in one line."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from llm4gen_data.errors import UserError

HELP_SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE`, `--set key=value` and `--dry-run` to a command."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop."),
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override one configuration key; repeatable.",
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="YAML configuration.",
        ),
    ):
        command = option(command)
    return command


def out_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the required `--out DIR`."""
    return click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help=help)


def echo_config(config: Any) -> None:
    """Print a resolved configuration as the YAML that `--config` would read."""
    import yaml

    from llm4gen_data.config import to_plain

    click.echo(yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True).rstrip())


def one_line_errors(commands: click.Command) -> Callable[[], None]:
    """The entry point of a command group: a UserError ends as one line on stderr and its exit code, Ctrl-C as 130."""

    def main() -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        # A warning is one line too, without the place in our code.
        warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
        # What a library wants to tell a developer (a backend not installed, a processor renamed) is not for our users.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        try:
            # In its standalone mode click would turn Ctrl-C into "Aborted!" and exit code 1.
            commands.main(standalone_mode=False)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except UserError as error:
            click.echo(f"Error: {' '.join(str(error).split())}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.exit(1)
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted. The same command again goes on from here.", err=True)
            sys.exit(130)
        except OSError as error:
            message = disk_error(error)
            if message is None:
                raise
            click.echo(f"Error: {message}", err=True)
            sys.exit(1)

    return main


def disk_error(error: OSError) -> str | None:
    """The line for a failed write or read that no one foresaw: full disk, missing rights; None for other errors."""
    import errno

    if error.errno == errno.ENOSPC:
        what = "no space left on the disk"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        what = "no permission to write here"
    elif error.errno in (errno.EIO, errno.EDQUOT, errno.EFBIG):
        what = error.strerror or "input/output error"
    else:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{what}; nothing finished is lost, the same command again goes on from here"
