"""Human studies of a few pictures, votes on them, and a server of its own process."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from benchmarks.study.config import StudyConfig
from benchmarks.study.make import make_study
from benchmarks.study.records import Study, Trial, sha256_of
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import sample_scene
from tests.commands import start

TOKEN = "a-token-of-the-tests"


def sharp_and_blurred(folder: Path, n: int = 8, size_px: int = 64) -> StudyConfig:
    """Two models' folders of pictures whose files differ in everything but their size in pixels."""
    drawn = [sample_scene(100 + i) for i in range(n)]
    for model, radius in (("sharp", 0.0), ("blurred", size_px / 40)):
        (folder / model).mkdir(parents=True)
        for i, scene in enumerate(drawn):
            picture = render(scene).resize((size_px, size_px), Image.Resampling.BICUBIC)
            picture.filter(ImageFilter.GaussianBlur(radius)).save(folder / model / f"p{i:03d}.png")
    prompts = write_rows(
        folder / "prompts.jsonl",
        [
            {
                "prompt_id": f"p{i:03d}",
                "prompt": " and ".join(" ".join(o.kind) for o in scene.objects),
                "category": ("first", "second")[i % 2],
            }
            for i, scene in enumerate(drawn)
        ],
    )
    return StudyConfig(images=(folder / "sharp", folder / "blurred"), layout="folder", prompts=prompts)


def small_study(folder: Path, n: int = 4, size_px: int = 64, **options: Any) -> Path:
    """A study directory; 4 prompts make 3 raters with 12 trials each."""
    config = sharp_and_blurred(folder / "images", n, size_px)
    options = {"pairs_per_rater": 4, "gold_per_axis": 1, "repeat_share": 0.25, **options}
    make_study(replace(config, **options), folder / "study")
    return folder / "study"


def vote_row(study: Study, trial: Trial, rater_id: str, choice: str = "left", seconds: float = 2.0) -> dict[str, Any]:
    """A vote as the form writes it, decoded."""
    row = {name: value for name, value in asdict(trial).items() if name not in ("prompt", "left", "right")}
    return {
        **row,
        "study_id": study.study_id,
        "left_sha256": sha256_of(trial.left),
        "right_sha256": sha256_of(trial.right),
        "choice": choice,
        "rater_id": rater_id,
        "shown_at": "2026-01-31T12:00:00.000Z",
        "answered_at": f"2026-01-31T12:00:{seconds:06.3f}Z",
        "seed": study.seed,
        "form_version": study.form_version,
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def start_server(folder: Path, port: int) -> "subprocess.Popen[str]":
    """`study serve` in a process of its own, ready to answer."""
    process = start("llm4gen-bench", "study", "serve", folder, "--port", port, "--token", TOKEN)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[1])


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server that ends with the block."""
    port = free_port()
    process = start_server(folder, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
