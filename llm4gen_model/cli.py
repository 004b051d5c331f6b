"""llm4gen-model: the commands of the model side. Heavy imports stay inside the commands."""

from __future__ import annotations

import click

from llm4gen_data.options import HELP_SETTINGS, one_line_errors


@click.group(context_settings=HELP_SETTINGS)
@click.version_option(package_name="llm4gen")
def commands() -> None:
    """Models: what the package carries (training and generation come with the next release)."""


@commands.command()
@click.option("--paths", is_flag=True, help="Print the folders only, for scripts.")
def models(paths: bool) -> None:
    """List the bundled models: architecture, parameters, size on disk."""
    from llm4gen_model.family import bundled_models

    for model in bundled_models():
        if paths:
            click.echo(model.path)
        else:
            size = f"{model.n_parameters:>11,} parameters {model.n_bytes / 1e6:6.1f} MB"
            click.echo(f"{model.name:12s} {model.architecture:34s} {size}")


main = one_line_errors(commands)
