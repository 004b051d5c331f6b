"""`make demo`, smaller: stopped with Ctrl-C in every stage it goes on, and ends with what it promises."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from tests.commands import BIN, assert_one_line, heed_ctrl_c, run

ROOT = Path(__file__).parents[2]
N, N_PROMPTS, N_DENSE = 60, 10, 1000
OPTIONS = ("--n", str(N), "--train-steps", "30", "--n-prompts", str(N_PROMPTS), "--n-dense", str(N_DENSE))


def start_demo(out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "python"), "-m", "pipelines.demo", *OPTIONS, "--out", str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def interrupt_when(reached: Callable[[], bool], out: Path) -> None:
    """Start the demo, press Ctrl-C when `reached`, as a terminal does: to the whole process group."""
    process = start_demo(out)
    end = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "goes on from here" in output


def test_the_demo_goes_on_after_ctrl_c_in_every_stage(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    scenes, downloaded, refined = out / "scenes", out / "downloaded", out / "refined"
    interrupt_when(lambda: any(scenes.glob("images/*.png")), out)
    assert not (scenes / "manifest.json").exists()
    interrupt_when(lambda: (downloaded / "fingerprint.json").exists(), out)
    assert not (downloaded / "manifest.json").exists()
    interrupt_when(lambda: (refined / "fingerprint.json").exists(), out)
    assert not (refined / "manifest.json").exists()
    interrupt_when(lambda: any(out.glob("densprompts/*")), out)
    interrupt_when(lambda: any(out.glob("cam/checkpoints/*.pt")), out)
    assert not (out / "cam" / "manifest.json").exists()
    interrupt_when(lambda: any(out.glob("pictures/images/*/*.png")), out)
    assert not (out / "pictures" / "manifest.json").exists()
    interrupt_when(lambda: (out / "scores" / "fingerprint.json").exists(), out)
    assert not (out / "scores" / "manifest.json").exists()
    process = start_demo(out)
    output, _ = process.communicate(timeout=500)
    last = output[output.rindex("11/11") :]
    print("\n" + last)
    # it ends with the comparison of the models on prompts of several objects
    for model in ("control-mini", "cam-mini"):
        assert model in last
    assert process.returncode == 0, output
    rows = pq.read_table(refined / "data").to_pylist()
    status = [row["status"] for row in rows]
    assert len(rows) == N
    assert status.count("failed_download") == 3  # one opted out, two are missing
    assert status.count("success") == N - 3
    assert {row["download_error"] for row in rows if row["status"] == "failed_download"} != {None}
    assert f"{N} inputs, {N - 3} captions + 3 tombstones: whole, each exactly once" in output
    for words in ("Before and after", "precision", "datasets.load_dataset", "Your own images next"):
        assert words in output
    assert {path.name for path in (refined / "stats").iterdir()} == {
        "caption_length.png",
        "frequent_objects.png",
        "frequent_words.png",
        "gates.png",
        "truth.png",
    }
    images = pq.read_table(out / "pictures" / "images.parquet").to_pylist()
    assert {image["model"] for image in images} == {"control-mini", "cam-mini", "cam"}
    assert len(images) == 3 * N_PROMPTS
    assert len(pq.read_table(out / "densprompts" / "prompts.parquet")) == N_DENSE
    results = json.loads((out / "scores" / "results.json").read_text())
    assert results["comparisons"]
    for path in ("scores/report.html", "dense-scores/report.html", "pictures/grid.png", "cam/report.html"):
        assert (out / path).stat().st_size > 10_000
        assert path in output


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("python", "-m", "pipelines.demo", "--port", port, "--out", tmp_path / "demo")
    assert_one_line(result, 1, f"port {port}", "in use")
