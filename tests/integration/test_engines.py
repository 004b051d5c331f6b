"""The real engines on the bundled captioner: they agree, and a killed vLLM run loses nothing."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import BIN, run, start
from tests.kills import kill_at_a_random_moment

N_SCENES = 32
N_KILLS = 1  # each costs the engine a minute; tests.performance.chaos kills more often


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines") / "scenes"
    result = run("llm4gen-data", "scenes", "--n", N_SCENES, "--seed", 500_000, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def vllm_run(scenes: Path) -> Path:
    out = scenes.parent / "vllm"
    result = run("llm4gen-data", "recaption", scenes, "--captioner", "vllm", "--out", out)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return out


def captions(run_directory: Path) -> list[str]:
    table = pq.read_table(run_directory / "data")
    assert table["status"].to_pylist() == ["success"] * N_SCENES
    texts: list[str] = table["caption_raw"].to_pylist()
    return texts


def test_vllm_and_transformers_write_the_same_captions(scenes: Path, vllm_run: Path) -> None:
    """Greedy, 32 scenes: the engine changes nothing."""
    result = run(
        "llm4gen-data", "recaption", scenes, "--captioner", "transformers", "--out", scenes.parent / "transformers"
    )
    assert result.returncode == 0, result.stderr
    ours, theirs = captions(vllm_run), captions(scenes.parent / "transformers")
    n_equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"\n{n_equal} of {N_SCENES} captions equal; the first: {ours[0]}")
    assert ours == theirs
    assert len(set(ours)) > N_SCENES // 2


def test_vllm_killed_loses_nothing(scenes: Path, vllm_run: Path) -> None:
    import random

    out, moment = scenes.parent / "killed", random.Random(1)
    options = [
        "llm4gen-data",
        "recaption",
        scenes,
        "--captioner",
        "vllm",
        "--set",
        "engine.max_in_flight=2",
        "--out",
        out,
    ]
    kills = 0
    for _ in range(N_KILLS):
        kills += kill_at_a_random_moment(start(*options), out, moment)
    result = run(*options)
    assert result.returncode == 0, result.stderr
    check = run("llm4gen-data", "verify", out)
    print(f"\n{kills} kills: {check.stdout.strip()}")
    assert kills == N_KILLS
    assert f"{N_SCENES} inputs, {N_SCENES} captions + 0 tombstones: whole, each exactly once" in check.stdout
    assert captions(out) == captions(vllm_run)


def test_an_engine_that_dies_is_replaced_and_nothing_is_lost(scenes: Path, vllm_run: Path) -> None:
    """kill -9 of vLLM's own process: the run itself goes on, with a new engine."""
    out = scenes.parent / "engine-killed"
    process = start(
        "llm4gen-data", "recaption", scenes, "--captioner", "vllm", "--set", "engine.max_in_flight=2", "--out", out
    )  # fmt: skip
    engine = _wait_for_captions_and_engine(out, process)
    os.kill(engine, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert captions(out) == captions(vllm_run)


def test_instructions_together_say_what_they_say_alone(scenes: Path, vllm_run: Path) -> None:
    out = scenes.parent / "together"
    result = run("llm4gen-data", "recaption", scenes, "--instruction", "paper", "--instruction", "short", "--out", out)
    assert result.returncode == 0, result.stderr
    assert captions(out) == captions(vllm_run)
    short = pq.read_table(out / "data")["short_caption"].to_pylist()
    assert all(0 < len(text.split()) < 50 for text in short)


def test_the_probe_finds_the_bundled_captioner_sound(scenes: Path) -> None:
    result = run("llm4gen-data", "probe", scenes, "--model", "vlm-mini")
    assert result.returncode == 0, result.stderr
    assert "8 of 8 captions equal" in result.stdout
    assert "--set engine.prepare_processes=" in result.stdout


def test_endpoint_captions_through_a_real_server(scenes: Path, vllm_run: Path) -> None:
    """The bundled model behind vLLM's own OpenAI-compatible server says what it says in process."""
    model = run("llm4gen-model", "models", "--paths").stdout.split()
    path = next(folder for folder in model if folder.endswith("vlm-mini"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(
        BIN / "python", "-m", "vllm.entrypoints.openai.api_server", "--model", path, "--served-model-name", "vlm-mini",
        "--host", "127.0.0.1", "--port", port, "--limit-mm-per-prompt", '{"image": 1}', "--dtype", "float32",
        VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR",
    )  # fmt: skip
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        out = scenes.parent / "endpoint"
        result = run(
            "llm4gen-data", "recaption", scenes, "--captioner", "endpoint", "--model", "vlm-mini",
            "--set", f"engine.base_url=http://127.0.0.1:{port}/v1", "--out", out,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        equal = sum(a == b for a, b in zip(captions(out), captions(vllm_run), strict=True))
        print(f"\n{equal} of {N_SCENES} captions equal to those of the engine in process")
        assert equal == N_SCENES
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def _wait_for_captions_and_engine(out: Path, process: subprocess.Popen[str]) -> int:
    """The id of the engine's process, once the journal has a first line."""
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        if any(journal.stat().st_size for journal in out.glob("shards/*.journal")):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            names = {child: Path(f"/proc/{child}/comm").read_text() for child in children}
            return int(next(child for child, name in names.items() if name.startswith("VLLM")))
        time.sleep(0.01)
    pytest.fail(f"no caption within 240 s, exit code {process.poll()}")


def _wait_until_healthy(url: str, server: object) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert server.poll() is None, server.stderr.read()  # type: ignore[attr-defined]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the server did not come up within 240 s")
