"""The endpoint captioner against servers that misbehave: what passes is retried, what stays wrong becomes a row."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq

from tests.commands import assert_one_line, run
from tests.factories import image_folder


def answer(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


@contextmanager
def server(reply: Callable[[int], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server whose n-th answer (from 0) is `reply(n)`."""
    count = iter(range(10**9))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert request["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
            code, body = reply(next(count))
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    finally:
        running.shutdown()


def recaption(url: str, source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ["--captioner", "endpoint", "--model", "m", "--set", f"engine.base_url={url}", "--out", out]
    return run("llm4gen-data", "recaption", source, *options)


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


def test_answers_that_make_no_sense_become_failed_rows(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 20)

    def reply(n: int) -> tuple[int, bytes]:
        return {4: (200, b'{"choices": []}'), 9: (400, b'{"error": {"message": "bad image"}}')}.get(
            n, (200, answer("A blue wall."))
        )

    with server(reply) as url:
        result = recaption(url, source, tmp_path / "run")
    assert result.returncode == 0, result.stderr
    table = pq.read_table(tmp_path / "run" / "data").to_pylist()
    failed = [row for row in table if row["status"] == "failed_caption"]
    assert len(failed) == 2
    assert any("not a chat completion" in row["error_message"] for row in failed)
    assert any("bad image" in row["error_message"] for row in failed)


def test_a_server_that_is_not_there_stops_the_run_in_one_line(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "in", 3)
    result = recaption("http://127.0.0.1:9/v1", source, tmp_path / "run")
    assert_one_line(result, 1, "http://127.0.0.1:9/v1", "goes on from here")
    assert not (tmp_path / "run" / "manifest.json").exists()
