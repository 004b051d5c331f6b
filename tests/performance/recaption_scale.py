"""A million rows through `llm4gen-data recaption` without a model: `python -m tests.performance.recaption_scale`.

The rows are 32-pixel JPEGs with keys, URLs and alt texts of their own; 10,000 pictures are distinct and come round
again. The tenth part goes first, as the memory of the whole must not be larger for being longer.
"""

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from llm4gen_data.parquet import IMAGE
from tests.commands import start

N_PICTURES = 10_000
FILE_ROWS = 100_000
GROUP_ROWS = 1_000
SAMPLE_S = 0.1


@dataclass
class Memory:
    """Peaks in bytes: of the largest process, and of the whole tree by proportional set size."""

    process: int = 0
    tree: int = 0


def picture(number: int) -> bytes:
    """A JPEG of 32 pixels that no other number below N_PICTURES gives."""
    image = Image.new("RGB", (32, 32), (number % 100 * 2, number // 100 * 2, 90))
    image.paste((250, number % 256, 10), (4, 4, 8 + number % 20, 12 + number // 20 % 18))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=60)
    return buffer.getvalue()


def write_source(folder: Path, n: int) -> Path:
    """Files of FILE_ROWS rows in row groups of GROUP_ROWS."""
    folder.mkdir(parents=True)
    images = [picture(i) for i in range(min(n, N_PICTURES))]
    for first in range(0, n, FILE_ROWS):
        with pq.ParquetWriter(folder / f"{first // FILE_ROWS:05d}.parquet", _table([], images).schema) as writer:
            for start_row in range(first, min(first + FILE_ROWS, n), GROUP_ROWS):
                writer.write_table(_table(range(start_row, min(start_row + GROUP_ROWS, n)), images))
    return folder


def _table(rows: range | list[int], images: list[bytes]) -> pa.Table:
    return pa.table(
        {
            "key": pa.array([f"{row:09d}" for row in rows], pa.string()),
            "url": pa.array([f"https://example.org/{row}.jpg" for row in rows], pa.string()),
            "alt_text": pa.array([f"photo no {row} for sale" for row in rows], pa.string()),
            "punsafe": pa.array([row % 1000 / 1000 for row in rows], pa.float32()),
            "image": pa.array([{"bytes": images[row % len(images)], "path": None} for row in rows], IMAGE),
        }
    )


def timed(*arguments: object) -> tuple[float, Memory]:
    """Seconds and peak memory of a command and its children. Raises RuntimeError if it fails."""
    began = time.perf_counter()
    process = start(*arguments)
    with _watched(process.pid) as memory:
        _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {errors[-2000:]}")
    return time.perf_counter() - began, memory


@contextmanager
def _watched(pid: int) -> Iterator[Memory]:
    memory, done = Memory(), threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            sizes = []
            try:
                for process in (root := psutil.Process(pid), *root.children(recursive=True)):
                    usage = process.memory_full_info()
                    sizes.append(usage.pss)
                    memory.process = max(memory.process, usage.rss)
            except psutil.Error:  # ended between two looks
                continue
            memory.tree = max(memory.tree, sum(sizes))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()


def measure(folder: Path, n: int, shard_rows: int, sets: tuple[str, ...]) -> None:
    """Caption, start again, verify; print what each took."""
    source = write_source(folder / f"source-{n}", n)
    run = folder / f"run-{n}"
    options = [option for value in (f"shard_rows={shard_rows}", *sets) for option in ("--set", value)]
    recaption = ("llm4gen-data", "recaption", source, "--captioner", "dummy", *options, "--out", run)
    seconds, memory = timed(*recaption)
    again_s, again = timed(*recaption)
    verify_s, verify = timed("llm4gen-data", "verify", run)
    print(
        f"{n:>9,} rows  caption {seconds:7.1f} s  {n / seconds:6.0f} rows/s  "
        f"peak {_mb(memory.process)} a process, {_mb(memory.tree)} together\n"
        f"                finished run again {again_s:5.1f} s, {_mb(again.process)}   "
        f"verify {verify_s:5.1f} s, {_mb(verify.process)}",
        flush=True,
    )


def _mb(size: int) -> str:
    return f"{size / 2**20:5.0f} MB"


@click.command(help=__doc__)
@click.option("--n", default=1_000_000, show_default=True, help="Rows.")
@click.option("--shard-rows", default=1000, show_default=True)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Further settings of recaption.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work; a temporary folder otherwise.")
def main(n: int, shard_rows: int, sets: tuple[str, ...], folder: Path | None) -> None:
    """First a tenth of the rows, then all."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for rows in (n // 10, n):
            measure(Path(scratch), rows, shard_rows, sets)


if __name__ == "__main__":
    main()
