"""`llm4gen-data download` with the real img2dataset against a web server in this process."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from llm4gen_data.runs import read_json, sha256_file
from tests.integration.image_server import WebServer, picture, serve

pytest.importorskip("img2dataset")

COMMAND = [str(Path(sys.executable).parent / "llm4gen-data"), "download"]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serve() as running:
        yield running


def write_laion(path: Path, urls: list[str | None]) -> Path:
    table = pa.table(
        {
            "URL": pa.array(urls, pa.string()),
            "TEXT": [f"alt text {row}" for row in range(len(urls))],
            "WIDTH": [48] * len(urls),
            "similarity": [row / 1000 for row in range(len(urls))],
            "status": ["LAION's own"] * len(urls),
        }
    )
    pq.write_table(table, path)
    return path


def download(source: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, str(source), "--out", str(out), "--processes", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def read_rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for shard in sorted((out / "shards").glob("*.parquet")):
        rows += pq.read_table(shard).to_pylist()
    return rows


def pixels(row: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(row["image"]["bytes"]))
    image.load()
    return image


def test_every_row_comes_back_with_its_outcome(server: WebServer, tmp_path: Path) -> None:
    outcomes: list[tuple[str | None, str, str | None]] = [
        (f"{server.url}/png/0", "success", None),
        (f"{server.url}/jpeg/1", "success", None),
        (f"{server.url}/turned/2", "success", None),
        (f"{server.url}/large/3", "success", None),
        (f"{server.url}/redirect/4", "success", None),
        (f"{server.url}/busy/5", "success", None),
        (f"{server.url}/png/6/a b/é.png", "success", None),
        (f"{server.url}/robots/7/noai", "failed_to_download", "X-Robots-Tag"),
        (f"{server.url}/robots/8/noimageindex, nofollow", "failed_to_download", "X-Robots-Tag"),
        (f"{server.url}/robots/9/nofollow", "success", None),
        (f"{server.url}/missing/10", "failed_to_download", "HTTP Error 404"),
        (f"{server.url}/truncated/11", "failed_to_resize", "truncated"),
        (f"{server.url}/short/12", "failed_to_download", "IncompleteRead"),
        (f"{server.url}/html/13", "failed_to_resize", "not an image"),
        (f"{server.url}/empty/14", "failed_to_resize", "empty"),
        ("ftp://example.org/a.png", "refused", "ftp"),
        ("file:///etc/passwd", "refused", "file"),
        (None, "refused", "no URL"),
        ("http://127.0.0.1:9/refuses", "failed_to_download", "Connection refused"),
    ]
    source = write_laion(tmp_path / "laion.parquet", [url for url, _, _ in outcomes])
    out = tmp_path / "images"
    options = ("--allow-private-hosts", "--shard-rows", "8", "--image-size", "100", "--retries", "1")

    first = download(source, out, *options)

    assert first.returncode == 0, first.stderr
    assert "8 of 19 images arrived" in first.stdout
    rows = read_rows(out)
    assert [row["key"] for row in rows] == [f"{number:09d}" for number in range(19)]
    for row, (url, status, error) in zip(rows, outcomes, strict=True):
        assert row["url"] == url
        assert row["download_status"] == status, (url, row["download_error"])
        assert (row["image"] is not None) == (status == "success")
        assert error is None or error in row["download_error"], (url, row["download_error"])
    assert [row["alt_text"] for row in rows] == [f"alt text {number}" for number in range(19)]
    assert [row["similarity"] for row in rows] == [number / 1000 for number in range(19)]
    assert {row["source_status"] for row in rows} == {"LAION's own"}
    assert {row["WIDTH"] for row in rows} == {48}

    png, turned, large = rows[0], rows[2], rows[3]
    assert png["image"]["bytes"] == picture(0)
    assert png["sha256"] == hashlib.sha256(picture(0)).hexdigest()
    assert (turned["width"], turned["height"]) == pixels(turned).size == (32, 48)
    assert pixels(turned).getexif().get(0x0112, 1) == 1
    corner = pixels(turned).crop((24, 0, 32, 8)).tobytes()  # top left as served, top right upright
    assert min(corner[0::3]) > 200
    assert max(corner[1::3]) < 100
    assert (large["width"], large["height"]) == pixels(large).size == (150, 100)
    assert (large["original_width"], large["original_height"]) == (300, 200)

    manifest = read_json(out / "manifest.json")
    assert manifest["n_rows"] == 19
    assert manifest["counts"] == {"success": 8, "failed_to_download": 5, "failed_to_resize": 3, "refused": 3}
    assert manifest["errors"]["HTTP Error 404: Not Found"] == 1
    assert [output["sha256"] for output in manifest["outputs"]] == [
        sha256_file(out / output["path"]) for output in manifest["outputs"]
    ]
    # No second request where it could change nothing, one more where it could.
    assert server.requests["/missing/10"] == server.requests["/robots/7/noai"] == 1
    assert server.requests["/busy/5"] == 2
    assert not (out / "work").exists()

    n_requests = server.requests.total()
    again = download(source, out, *options)
    assert again.returncode == 0
    assert "already complete" in again.stdout
    assert server.requests.total() == n_requests

    changed = download(source, out, "--allow-private-hosts", "--shard-rows", "8", "--image-size", "64")
    assert changed.returncode == 1
    assert "image_size: 100 -> 64" in changed.stderr


def test_private_hosts_are_not_asked_and_nothing_arrived_is_told(server: WebServer, tmp_path: Path) -> None:
    urls: list[str | None] = [f"{server.url}/png/0", f"http://localhost:{server.server_port}/png/1"]
    source = write_laion(tmp_path / "laion.parquet", urls)

    result = download(source, tmp_path / "images")

    assert result.returncode == 1
    assert "0 of 2 images arrived" in result.stderr
    assert "private host 127.0.0.1" in result.stderr
    assert "Traceback" not in result.stderr
    assert server.requests.total() == 0
    assert [row["download_status"] for row in read_rows(tmp_path / "images")] == ["refused", "refused"]


def test_kill_in_the_middle_then_resume_then_interrupt(server: WebServer, tmp_path: Path) -> None:
    urls: list[str | None] = [f"{server.url}/png/{number}" for number in range(60)]
    source, out = write_laion(tmp_path / "laion.parquet", urls), tmp_path / "images"
    command = [*COMMAND, str(source), "--out", str(out), "--allow-private-hosts", "--shard-rows", "10"]
    command += ["--processes", "1", "--threads", "2"]
    server.delay_s = 0.15

    process = start_and_wait_for_first_shard(command, out, n_markers=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert_no_child_left(out)
    n_markers = len(list((out / "shards").glob("*.json")))
    assert 2 <= n_markers < 6
    assert not (out / "manifest.json").exists()

    process = start_and_wait_for_first_shard(command, out, n_markers=n_markers + 1)
    interrupted_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130, stderr
    assert time.monotonic() - interrupted_at < 4
    assert "Interrupted" in stderr
    assert_no_child_left(out)

    server.delay_s = 0.0
    last = download(source, out, "--allow-private-hosts", "--shard-rows", "10")
    assert last.returncode == 0, last.stderr
    rows = read_rows(out)
    assert [row["url"] for row in rows] == urls
    assert {row["download_status"] for row in rows} == {"success"}
    assert all(row["image"]["bytes"] == picture(number) for number, row in enumerate(rows))
    # Finished shards were not asked for again: at most the shards under way at the two stops were.
    assert server.requests.total() <= 60 + 2 * 20


def start_and_wait_for_first_shard(command: list[str], out: Path, n_markers: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list((out / "shards").glob("*.json"))) < n_markers:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no shard was finished"
        time.sleep(0.05)
    return process


def assert_no_child_left(out: Path) -> None:
    deadline = time.monotonic() + 5
    while children := processes_of(out):
        assert time.monotonic() < deadline, f"still running: {children}"
        time.sleep(0.1)


def processes_of(out: Path) -> list[str]:
    """Command lines of running processes that work on this run: img2dataset and its workers name its request."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            children = (entry / "cwd").exists() and str(out / "work") in command_line
        except OSError:
            continue
        if children:
            found.append(command_line)
    return found
