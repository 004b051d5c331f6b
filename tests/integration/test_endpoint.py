"""The endpoint captioner against servers that misbehave: what passes is retried, what stays wrong becomes a row."""

import inspect
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import assert_one_line, run
from tests.factories import image_folder


def answer(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


@contextmanager
def server(reply: Callable[..., tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server whose n-th answer (from 0) is `reply(n)`, or `reply(n, image)` where it takes the data URL."""
    takes_image = len(inspect.signature(reply).parameters) == 2
    count = iter(range(10**9))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            image = request["messages"][0]["content"][0]["image_url"]["url"]
            assert image.startswith("data:image/png;base64,")
            code, body = reply(next(count), image) if takes_image else reply(next(count))
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            with suppress(BrokenPipeError):  # the client may have given up
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    finally:
        running.shutdown()


def recaption(url: str, source: Path, out: Path, **engine: object) -> subprocess.CompletedProcess[str]:
    sets = [f"--set=engine.{name}={value}" for name, value in {"base_url": url, **engine}.items()]
    return run("llm4gen-data", "recaption", source, "--captioner", "endpoint", "--model", "m", *sets, "--out", out)


def rows(run_directory: Path) -> list[dict[str, object]]:
    table: list[dict[str, object]] = pq.read_table(run_directory / "data").to_pylist()
    return table


def test_busy_and_broken_answers_are_retried(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 6)

    def reply(n: int) -> tuple[int, bytes]:
        return {0: (429, b"{}"), 2: (500, b"oops"), 3: (503, b"")}.get(
            n, (200, answer("A green square on a plain wall."))
        )

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "run" / "data")["status"].to_pylist() == ["success"] * 6


def test_nonsense_is_asked_for_again_and_a_refusal_is_not(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 20)
    asked = []

    def reply(n: int) -> tuple[int, bytes]:
        asked.append(n)
        bad = {4: (200, b'{"choices": []}'), 6: (200, b"<html>"), 9: (400, b'{"error": {"message": "bad image"}}')}
        return bad.get(n, (200, answer("A blue wall.")))

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run")
    assert result.returncode == 0, result.stderr
    failed = [row for row in rows(tmp_path / "run") if row["status"] != "success"]
    assert [row["status"] for row in failed] == ["failed_caption"]
    assert "bad image" in str(failed[0]["error_message"])
    assert len(asked) == 22


def test_a_server_that_stays_busy_slow_or_mad_leaves_rows_to_retry(tmp_path: Path) -> None:
    """Each kind of trouble uses up its retries; the run ends, and `--retry-failed transient` heals it."""
    source = image_folder(tmp_path / "in", 6)
    troubles = iter([(429, b"{}"), (500, b"oops"), (200, b"not json")] * 2)
    sick: dict[str, tuple[int, bytes]] = {}
    healed = threading.Event()

    def reply(n: int, image: str) -> tuple[int, bytes]:
        if healed.is_set():
            return 200, answer("A blue wall.")
        if image not in sick:
            sick[image] = next(troubles)
        return sick[image]

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run", max_retries=1)
        assert_one_line(result, 1, "6 of 6 images have no caption")
        assert {row["status"] for row in rows(tmp_path / "run")} == {"failed_transient"}
        messages = {str(row["error_message"]).split(":")[0] for row in rows(tmp_path / "run")}
        assert messages == {"RateLimitError", "InternalServerError", "the server's answers are not chat completions"}
        healed.set()
        again = run(
            "llm4gen-data", "recaption", source, "--captioner", "endpoint", "--model", "m", "--retry-failed",
            "transient", "--set", f"engine.base_url={url}", "--set", "engine.max_retries=1", "--out", tmp_path / "run",
        )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert {row["status"] for row in rows(tmp_path / "run")} == {"success"}


def test_a_slow_answer_is_given_up_and_told(tmp_path: Path) -> None:
    """The time limit lies far above what a busy machine needs for the others; the slow one waits until it is over."""
    source = image_folder(tmp_path / "in", 12)
    over = threading.Event()

    def reply(n: int) -> tuple[int, bytes]:
        if n == 3:
            over.wait()
        return 200, answer("A blue wall.")

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run", max_retries=0, timeout_s=10)
        over.set()
    assert result.returncode == 0, result.stderr
    failed = [row for row in rows(tmp_path / "run") if row["status"] != "success"]
    assert [row["status"] for row in failed] == ["failed_transient"]
    assert "time limit" in str(failed[0]["error_message"])


def test_no_more_requests_than_allowed_are_open_at_once(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 12)
    open_now, most, lock = 0, 0, threading.Lock()

    def reply(n: int) -> tuple[int, bytes]:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.05)
        with lock:
            open_now -= 1
        return 200, answer("A blue wall.")

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run", max_in_flight=3)
    assert result.returncode == 0, result.stderr
    assert most == 3


@pytest.mark.parametrize("code", [401, 404])
def test_a_server_that_refuses_everything_stops_the_run(tmp_path: Path, code: int) -> None:
    source = image_folder(tmp_path / "in", 3)
    with server(lambda n: (code, b'{"error": {"message": "no such model or key"}}')) as url:
        result = recaption(url, source, tmp_path / "run")
    assert_one_line(result, 1, "no such model or key", "goes on from here")


def test_a_server_that_is_not_there_stops_the_run_in_one_line(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 3)
    result = recaption("http://127.0.0.1:9/v1", source, tmp_path / "run", max_retries=1)
    assert_one_line(result, 1, "http://127.0.0.1:9/v1", "goes on from here")
    assert not (tmp_path / "run" / "manifest.json").exists()
