"""`python -m benchmarks.metrics.t2v_setup`: an interpreter with t2v_metrics of its own, where its pins hurt nobody.

The package on the index cannot be installed with its dependencies: one of them is another project's, and some pins
contradict each other. So it is installed without any, then what it asks for, less `WITHOUT`, and free of the pins in
`UNPINNED`.
"""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import click

from benchmarks.metrics.t2v_metrics import DEFAULT_FOLDER, VERSION, check_interpreter
from llm4gen_data.errors import UserError
from llm4gen_data.options import HELP_SETTINGS, one_line_errors

WITHOUT = {
    "apex": "a login package of 2012 and not NVIDIA's apex",
    "deepspeed": "for training; its build needs a CUDA compiler",
    "hpsv2": "pins protobuf below 4 and pytest 7.2.0",
    "torchcodec": "for films; looks for FFmpeg's libraries when imported",
    "wandb": "for training",
}
# httpx 0.24.0 cannot stand beside google-genai.
UNPINNED = ("httpx",)
# Later ones do not work with its numpy 1.26.
MORE = ("pyarrow<22",)


@click.command(context_settings=HELP_SETTINGS)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Folder of the new environment.",
)
@click.option("--python", metavar="COMMAND", help="Interpreter to make it from, 3.10 or 3.11.  [default: this one]")
def commands(out: Path, python: str | None) -> None:
    """Set up an environment for the metric t2v_metrics: several GB, and a quarter of an hour."""
    for line in set_up(out, python):
        click.echo(line)


def set_up(out: Path, python: str | None = None) -> Iterable[str]:
    """Make the environment; a line on each step. Raises UserError if pip fails, or the package cannot be imported."""
    interpreter = out / "bin" / "python"
    if not interpreter.exists():
        if python is None:
            venv.create(out, with_pip=True)
        else:
            _run([python, "-m", "venv", str(out)])
    _run([str(interpreter), "-m", "pip", "install", "--no-deps", f"t2v_metrics=={VERSION}"])
    wanted = requirements(_installed(out).requires or ())
    yield f"{out}: t2v_metrics {VERSION} without {', '.join(f'{name} ({why})' for name, why in WITHOUT.items())}"
    _run([str(interpreter), "-m", "pip", "install", *wanted, *MORE])
    _link_ffmpeg(interpreter)
    yield f"{out}: {check_interpreter(interpreter)}"


def requirements(asked: Iterable[str]) -> list[str]:
    """What to install of the package's own requirements, in its order and each once."""
    from packaging.requirements import Requirement

    kept: dict[str, None] = {}
    for line in asked:
        requirement = Requirement(line)
        name = requirement.name.lower()
        if name not in WITHOUT and not (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            kept[requirement.name if name in UNPINNED else f"{requirement.name}{requirement.specifier}"] = None
    return list(kept)


def _installed(out: Path) -> Distribution:
    folders = [str(path) for path in (out / "lib").glob("python3*/site-packages")]
    found = next(iter(distributions(name="t2v_metrics", path=folders)), None)
    if found is None:
        raise UserError(f"{out}: pip has not installed t2v_metrics there")
    return found


def _link_ffmpeg(interpreter: Path) -> None:
    """Its import looks for the program ffmpeg; a package among its requirements brings one under another name."""
    target = interpreter.with_name("ffmpeg")
    if not target.exists():
        code = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
        found = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            target.symlink_to(found.stdout.strip())


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, check=False)
    if done.returncode:
        raise UserError(f"`{' '.join(command)[:300]}` ended with exit code {done.returncode}; its last lines say why")


main = one_line_errors(commands)

if __name__ == "__main__":
    main()
