"""VQAScore by the package t2v_metrics, in an interpreter of its own: its pins stand beside nothing else."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from PIL.Image import Image

from benchmarks.metrics import t2v_worker
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

VERSION = "3.0"  # 3.1 no longer has CLIP-FlanT5
DEFAULT_FOLDER = Path(".t2v-metrics")
CHECK_TIMEOUT_S = 300
N_KEPT_LINES = 20  # of what the other side wrote on stderr


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
        self._worker: _Worker | None = None

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
        if self._worker is None:
            self._worker = _Worker(self.python)
            self._worker.ask({"model": self.model, "device": self.device}, self.start_timeout_s)
        with tempfile.TemporaryDirectory(prefix="llm4gen-t2v-") as folder:
            paths = [str(Path(folder) / f"{i:05d}.png") for i in range(len(images))]
            for image, path in zip(images, paths, strict=True):
                image.save(path)
            request = {"images": paths, "texts": [prompt.prompt for prompt in prompts]}
            answer = self._worker.ask(request, self.timeout_s, may_fail=True)
        if "error" in answer:
            return [[Score(self.headline, None, error_message=f"t2v_metrics: {answer['error']}")] for _ in prompts]
        values = answer.get("scores")
        if not isinstance(values, list) or len(values) != len(prompts):
            raise UserError(f"t2v_metrics: {self.python}: expected {len(prompts)} scores, got {str(values)[:100]}")
        reason = f"VQAScore of {self.model} by t2v_metrics"
        return [[Score(self.headline, float(value), reason)] for value in values]


def check_interpreter(python: Path) -> str:
    """A line on what the interpreter holds. Raises UserError if it cannot import the package."""
    worker = _Worker(python)
    try:
        answer = worker.ask({"model": None}, CHECK_TIMEOUT_S)
    finally:
        worker.close()
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


class _Worker:
    """The other interpreter, with a thread that reads what it answers and one that keeps the end of its stderr."""

    def __init__(self, python: Path) -> None:
        self.python = python
        # The environment's programs (ffmpeg) come first; its packages must not be mixed with ours.
        path = f"{python.absolute().parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
        try:
            self.process = subprocess.Popen(
                [str(python), t2v_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=environment,
            )
        except OSError as error:
            raise UserError(f"t2v_metrics: {python} cannot be run: {error}") from error
        self.answers: queue.Queue[str | None] = queue.Queue()
        self.complaints: list[str] = []
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=self._keep, args=(self.process.stderr,), daemon=True).start()

    def ask(self, request: dict[str, Any], timeout_s: float, *, may_fail: bool = False) -> dict[str, Any]:
        """The answer. Raises UserError if there is none in time, or it is an error and `may_fail` is not set."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise UserError(f"t2v_metrics: {self.python}: no answer within {timeout_s:g} s") from None
        except OSError:
            line = None
        if line is None:
            self.close()
            told = self.complaints[-1] if self.complaints else f"exit code {self.process.returncode}"
            raise UserError(f"t2v_metrics: {self.python} ended without an answer: {told[:300]}")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise UserError(f"t2v_metrics: {self.python}: expected a line of JSON, got {line[:100]!r}")
        if "error" in answer and not may_fail:
            self.close()
            raise UserError(f"t2v_metrics: {self.python}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self.answers.put(line)
        self.answers.put(None)

    def _keep(self, lines: IO[str]) -> None:
        for line in lines:
            if line.strip():
                self.complaints = [*self.complaints, line.strip()][-N_KEPT_LINES:]
