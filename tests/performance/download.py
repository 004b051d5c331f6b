"""`llm4gen-data download` against bare img2dataset, both from a local server: `python -m tests.performance.download`.

Interleaved rounds in one run, each over all rows and with the start of its process; rows per second of each round,
medians, and the ratio. Ours checks every image to its last row, keeps EXIF upright, and writes durable shards.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import statistics
import subprocess
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.commands import BIN


def photo(side: int) -> bytes:
    """A JPEG with about as many bytes a pixel as photographs have."""
    noise = Image.frombytes("RGB", (side // 8, side // 8), random.Random(0).randbytes(3 * (side // 8) ** 2))
    buffer = io.BytesIO()
    noise.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def serve(body: bytes, ready: Connection) -> None:
    """Answer every request with `body`; the port goes to `ready`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), Handler) as server:
        ready.send(server.server_port)
        server.serve_forever()


def seconds(command: list[str]) -> float:
    """How long a command takes that must succeed."""
    environment = os.environ | {"WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1"}
    began = time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    if finished.returncode != 0:
        raise SystemExit(finished.stderr or finished.stdout)
    return time.perf_counter() - began


def n_images(folder: Path, column: str) -> int:
    """How many images lie in the Parquet shards of a folder."""
    tables = [pq.read_table(path, columns=[column]) for path in folder.glob("*.parquet")]
    return sum(table.num_rows - table[column].null_count for table in tables)


def compare(n: int, rounds: int, n_threads: int, url: str) -> None:
    """Run both `rounds` times in turn and print what they did."""
    rates: dict[str, list[float]] = {"llm4gen-data": [], "img2dataset": []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            source, ours, bare = (Path(scratch) / name for name in ("laion.parquet", "ours", "bare"))
            urls = [f"{url}/{number}/{i}.jpg" for i in range(n)]
            pq.write_table(pa.table({"URL": urls, "TEXT": ["a text"] * n}), source)
            own = f"download {source} --out {ours} --processes 1 --threads {n_threads} --allow-private-hosts"
            options = (
                f"--url_list {source} --input_format parquet --url_col URL --caption_col TEXT --output_folder {bare}"
            )
            options += f" --output_format parquet --processes_count 1 --thread_count {n_threads} --image_size 1024"
            options += " --resize_mode keep_ratio --resize_only_if_bigger True --skip_reencode True --retries 2"
            options += " --number_sample_per_shard 1000 --enable_wandb False"
            rates["llm4gen-data"].append(n / seconds([str(BIN / "llm4gen-data"), *own.split()]))
            rates["img2dataset"].append(n / seconds([str(BIN / "img2dataset"), *options.split()]))
            counts = n_images(ours / "shards", "image"), n_images(bare, "jpg")
            assert counts == (n, n), f"images that arrived: {counts}, expected {n}"
        print(f"round {number + 1}: " + ", ".join(f"{name} {rate[-1]:.0f} rows/s" for name, rate in rates.items()))
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    ratio = medians["llm4gen-data"] / medians["img2dataset"]
    print(", ".join(f"{name} {rate:.0f} rows/s" for name, rate in medians.items()) + f"; ratio {ratio:.2f}")


def main() -> None:
    """Start the server in a process of its own, compare, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=4000, help="rows a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=32, help="requests at once")
    parser.add_argument("--side", type=int, default=512, help="width and height of the image, in pixels")
    arguments = parser.parse_args()
    body = photo(arguments.side)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(body, theirs), daemon=True)
    server.start()
    try:
        print(f"{arguments.n} rows, JPEGs of {arguments.side} x {arguments.side} pixels, {len(body):,} bytes")
        compare(arguments.n, arguments.rounds, arguments.threads, f"http://127.0.0.1:{ours.recv()}")
    finally:
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
