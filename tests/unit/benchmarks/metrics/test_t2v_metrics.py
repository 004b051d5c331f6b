"""The other interpreter, with a stand-in for the package: answers, errors, silence, noise, and what is not there."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.metrics.t2v_metrics import T2vMetrics, check_interpreter, package_version
from benchmarks.metrics.t2v_setup import requirements
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

# Scores the mean red of the picture that the file at the path holds; what it prints must not disturb the answers.
PACKAGE = """
import sys, time
import hpsv2.models  # not installed: only other models need it
from llava.model import Llava

print("loading", flush=True)

def list_all_vqascore_models():
    return ["fake", "other"]

class VQAScore:
    def __init__(self, model, device):
        if model == "llava":
            Llava()
        assert device == "cpu"

    def __call__(self, images, texts):
        print("scoring", texts, flush=True)
        (path,), (text,) = images, texts
        if text == "fails":
            raise RuntimeError("out of memory\\nin two lines")
        if text == "sleeps":
            time.sleep(60)
        if text == "dies":
            print("killed by somebody", file=sys.stderr, flush=True)
            sys.exit(3)
        if text == "none":
            return [[float("nan")]]
        assert open(path, "rb").read(4) == b"\\x89PNG"
        return [[len(text) / 10]]
"""
TORCH = """
import contextlib
__version__ = "0"
inference_mode = contextlib.nullcontext
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that knows nothing but the standard library and the stand-ins."""
    folder = tmp_path_factory.mktemp("t2v")
    packages = folder / "packages"
    (packages / "t2v_metrics-3.0.dist-info").mkdir(parents=True)
    (packages / "t2v_metrics-3.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: t2v_metrics\nVersion: 3.0\n"
    )
    (packages / "t2v_metrics.py").write_text(PACKAGE)
    (packages / "torch.py").write_text(TORCH)
    (folder / "bin").mkdir()
    script = folder / "bin" / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -S "$@"\n')
    script.chmod(0o755)
    return script


def score(metric: T2vMetrics, *texts: str) -> list[tuple[float | None, str | None]]:
    prompts = [Prompt(str(i), text, "all", 1, None) for i, text in enumerate(texts)]
    found = metric.score([Image.new("RGB", (8, 8))] * len(texts), prompts)
    return [(own.value, own.error_message) for (own,) in found]


def test_scores_come_back_in_order_from_one_process(python: Path) -> None:
    metric = T2vMetrics(model="fake", python=str(python), device="cpu")
    assert score(metric, "abc", "a") == [(0.3, None), (0.1, None)]
    # a batch that the model fails on is told, and the next one is scored
    ((value, problem),) = score(metric, "fails")
    assert value is None
    assert problem == "t2v_metrics: RuntimeError: out of memory in two lines"
    assert score(metric, "ab") == [(0.2, None)]
    identity = metric.identity()
    assert identity["t2v_metrics"] == "3.0"
    assert json.dumps(identity)


def test_silence_and_death_end_the_run_in_one_line(python: Path) -> None:
    with pytest.raises(UserError, match=r"gave no answer in 1\.5 s"):
        score(T2vMetrics(model="fake", python=str(python), device="cpu", timeout_s=1.5), "sleeps")
    with pytest.raises(UserError, match="ended: killed by somebody"):
        score(T2vMetrics(model="fake", python=str(python), device="cpu"), "dies")
    with pytest.raises(UserError, match="needs the package 'llava'"):
        score(T2vMetrics(model="llava", python=str(python), device="cpu"), "abc")


def test_an_interpreter_is_checked_before_anything_is_scored(python: Path, tmp_path: Path) -> None:
    assert check_interpreter(python) == "t2v_metrics 3.0 with 2 models, fake, other ..."
    with pytest.raises(UserError, match="no such interpreter; `make t2v-metrics`"):
        T2vMetrics(python=str(tmp_path / "python"))
    with pytest.raises(UserError, match="has no package t2v_metrics"):
        package_version(Path(sys.executable))
    script = tmp_path / "noise"
    script.write_text("#!/bin/sh\nread line\necho hello\n")
    script.chmod(0o755)
    with pytest.raises(UserError, match=r"answered b'hello.*expected a line of JSON"):
        check_interpreter(script)


def test_wrong_requirements_are_left_out() -> None:
    asked = [
        "torch==2.5.1",
        "apex==0.9.10dev",
        "hpsv2",
        "httpx==0.24.0",
        "tqdm>=4.64.1",
        "tqdm>=4.64.1",
        "x; extra == 'dev'",
    ]
    assert requirements(asked) == ["torch==2.5.1", "httpx", "tqdm>=4.64.1"]
