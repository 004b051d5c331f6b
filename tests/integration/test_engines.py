"""The real engines on the bundled captioner: they agree, and a killed vLLM run loses nothing."""

import os
import socket
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import BIN, run, start
from tests.kills import kill_at_a_random_moment

N_SCENES = 32
N_KILLS = 3


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


def test_vllm_killed_three_times_loses_nothing(scenes: Path, vllm_run: Path) -> None:
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
