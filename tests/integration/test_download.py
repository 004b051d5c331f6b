"""`llm4gen-data download` with the real img2dataset against a web server in this process."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from llm4gen_data.runs import read_json, sha256_file
from tests.commands import assert_one_line, run, start
from tests.integration.image_server import WebServer, picture, serve

pytest.importorskip("img2dataset")


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
    return run("llm4gen-data", "download", source, "--out", out, "--processes", "1", *options, timeout_s=120)


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
    assert manifest["status"] == {"success": 8, "failed_to_download": 5, "failed_to_resize": 3, "refused": 3}
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
    assert_one_line(changed, 1, "image_size: 100 -> 64")


def test_private_hosts_are_not_asked_and_nothing_arrived_is_told(server: WebServer, tmp_path: Path) -> None:
    urls: list[str | None] = [f"{server.url}/png/0", f"http://localhost:{server.server_port}/png/1"]
    source = write_laion(tmp_path / "laion.parquet", urls)

    result = download(source, tmp_path / "images")

    assert_one_line(result, 1, "0 of 2 images arrived", "private host 127.0.0.1")
    assert server.requests.total() == 0
    assert [row["download_status"] for row in read_rows(tmp_path / "images")] == ["refused", "refused"]


def test_filtered_rows_stay_as_rows_and_are_never_asked_for(server: WebServer, tmp_path: Path) -> None:
    urls: list[str | None] = [f"{server.url}/png/{number}" for number in range(6)]
    source = write_laion(tmp_path / "laion.parquet", urls)
    removed = tmp_path / "removed.txt"
    removed.write_text(f"{urls[3]}\n{hashlib.sha256(picture(4)).hexdigest()}\n")
    options = ("--allow-private-hosts", "--set", "filters.min_similarity=0.002", "--set")

    result = download(source, tmp_path / "images", *options, f"filters.removal_list={removed}")

    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "images")
    assert [(row["download_status"], row["download_error"]) for row in rows] == [
        ("filtered", "similarity below 0.002"),
        ("filtered", "similarity below 0.002"),
        ("success", None),
        ("filtered", "on the removal list (url)"),
        ("filtered", "on the removal list (sha256)"),
        ("success", None),
    ]
    assert [row["image"] is not None for row in rows] == [False, False, True, False, False, True]
    assert sorted(server.requests) == ["/png/2", "/png/4", "/png/5"]
    assert read_json(tmp_path / "images" / "manifest.json")["status"] == {"filtered": 4, "success": 2}
    removed.write_text(f"{urls[2]}\n")
    changed = download(source, tmp_path / "images", *options, f"filters.removal_list={removed}")
    assert_one_line(changed, 1, "filters.removal_list_sha256")
    assert_one_line(
        download(source, tmp_path / "other", "--set", "filters.max_punsafe=0.5"), 1, "the source has no column punsafe"
    )


def test_a_run_survives_kill_interrupt_and_the_loss_of_a_worker(server: WebServer, tmp_path: Path) -> None:
    urls: list[str | None] = [f"{server.url}/png/{number}" for number in range(60)]
    source, out = write_laion(tmp_path / "laion.parquet", urls), tmp_path / "images"
    arguments = (source, "--out", out, "--allow-private-hosts", "--shard-rows", 10, "--processes", 1, "--threads", 2)
    server.delay_s = 0.15

    process = start("llm4gen-data", "download", *arguments)
    wait_for_shards(process, out, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert_no_child_left(out)
    n_markers = len(list((out / "shards").glob("*.json")))
    assert 2 <= n_markers < 6
    assert not (out / "manifest.json").exists()

    process = start("llm4gen-data", "download", *arguments)
    wait_for_shards(process, out, n_markers + 1)
    interrupted_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130, stderr
    assert time.monotonic() - interrupted_at < 4
    assert "Interrupted" in stderr
    assert_no_child_left(out)

    # img2dataset alone would wait for ever for a worker that is gone.
    process = start("llm4gen-data", "download", *arguments)
    os.kill(newest_worker(process, out), signal.SIGKILL)
    server.delay_s = 0.0
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "killed by signal 9" in (out / "img2dataset.log").read_text()
    rows = read_rows(out)
    assert [row["url"] for row in rows] == urls
    assert {row["download_status"] for row in rows} == {"success"}
    assert all(row["image"]["bytes"] == picture(number) for number, row in enumerate(rows))
    # Finished shards were not asked for again: at most the shards under way at the three stops were.
    assert server.requests.total() <= 60 + 3 * 20


def wait_for_shards(process: subprocess.Popen[str], out: Path, n: int) -> None:
    deadline = time.monotonic() + 60
    while len(list((out / "shards").glob("*.json"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no shard was finished"
        time.sleep(0.05)


def newest_worker(process: subprocess.Popen[str], out: Path) -> int:
    """The process id of the download worker, once it is there; img2dataset's logger is the older of the two."""
    deadline = time.monotonic() + 60
    while len(workers := processes_with(out / "work" / "ticks")) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no worker was started"
        time.sleep(0.05)
    return workers[-1]


def assert_no_child_left(out: Path) -> None:
    deadline = time.monotonic() + 5
    while children := processes_with(out):
        assert time.monotonic() < deadline, f"still running: {children}"
        time.sleep(0.1)


def processes_with(path: Path) -> list[int]:
    """Processes that have this file, or a file below this folder, open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = link.readlink()
        except OSError:
            continue
        if target.is_relative_to(path):
            found.add(int(link.parts[2]))
    return sorted(found)
