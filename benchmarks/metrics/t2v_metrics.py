"""VQAScore by the package t2v_metrics, in an interpreter of its own: its pins stand beside nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from benchmarks.metrics import t2v_worker
from benchmarks.metrics.external import ExternalProgram, save_pictures
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

VERSION = "3.0"  # 3.1 no longer has CLIP-FlanT5
DEFAULT_FOLDER = Path(".t2v-metrics")
CHECK_TIMEOUT_S = 300


class T2vMetrics:
    """VQAScore of one of its models, as the package computes it; `python` is the interpreter that holds the package.

    Pictures go over as PNG files, requests and answers as lines of JSON. A batch that takes longer than `timeout_s`
    ends the run. Raises UserError if there is no such interpreter.
    """

    headline = "vqascore"
    unit = "0 to 1"
    digits = 4

    def __init__(
        self,
        model: str = "clip-flant5-xxl",
        python: str = str(DEFAULT_FOLDER / "bin" / "python"),
        device: str = "cuda",
        start_timeout_s: float = 3600,
        timeout_s: float = 1800,
    ) -> None:
        self.model, self.python, self.device = model, _interpreter(python), device
        self.start_timeout_s, self.timeout_s = start_timeout_s, timeout_s
        self.version = package_version(self.python)
        self._program: ExternalProgram | None = None

    def identity(self) -> dict[str, Any]:
        """Model and version of the package; it keeps revision, template and dtype to itself."""
        return {
            "metric": "t2v_metrics",
            "version": 1,
            "model": self.model,
            "t2v_metrics": self.version,
            "template": "the package's default for the model",
            "device": self.device,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text can be asked for."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, of the kind `vqascore`; a batch that the other side fails on has errors."""
        if self._program is None:
            self._program = _program(self.python, self.timeout_s)
            self._program.ask({"model": self.model, "device": self.device}, self.start_timeout_s)
        with tempfile.TemporaryDirectory(prefix="llm4gen-t2v-") as folder:
            paths = save_pictures(images, Path(folder))
            request = {"images": paths, "texts": [prompt.prompt for prompt in prompts]}
            answer = self._program.ask(request, may_fail=True)
        if "error" in answer:
            return [[Score(self.headline, None, error_message=f"t2v_metrics: {answer['error']}")] for _ in prompts]
        values = answer.get("scores")
        if not isinstance(values, list) or len(values) != len(prompts):
            raise UserError(f"t2v_metrics: {self.python}: expected {len(prompts)} scores, got {str(values)[:100]}")
        reason = f"VQAScore of {self.model} by t2v_metrics"
        return [[Score(self.headline, float(value), reason)] for value in values]


def check_interpreter(python: Path) -> str:
    """A line on what the interpreter holds. Raises UserError if it cannot import the package."""
    answer = _program(python, CHECK_TIMEOUT_S).ask({"model": None})
    return (
        f"t2v_metrics {answer['version']} with {len(answer['models'])} models, {', '.join(answer['models'][:3])} ..."
    )


def package_version(python: Path) -> str:
    """The version of t2v_metrics there, without importing it. Raises UserError if it is not installed."""
    code = "from importlib.metadata import version; print(version('t2v_metrics'))"
    try:
        found = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, check=False, timeout=CHECK_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"t2v_metrics: {python} cannot be run: {error}") from error
    if found.returncode:
        raise UserError(f"t2v_metrics: {python} has no package t2v_metrics; `make t2v-metrics` sets one up")
    return found.stdout.strip()


def _interpreter(python: str) -> Path:
    path = Path(python)
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UserError(
            f"t2v_metrics: {python}: no such interpreter; `make t2v-metrics` sets one up, "
            "--set t2v_metrics.python=PATH names another"
        )
    return path


def _program(python: Path, timeout_s: float) -> ExternalProgram:
    # The environment's programs (ffmpeg) come first; its packages must not be mixed with ours.
    path = f"{python.absolute().parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = shlex.join([str(python), t2v_worker.__file__])
    return ExternalProgram("t2v_metrics", command, timeout_s, {"PYTHONPATH": None, "PATH": path})
