"""What hostile image bytes cost `prepare`: `python -m tests.performance.hostile --n 10000 --seed 0`.

Every one must come out as a picture or as an ImageError; printed are counts, the slowest, and the peak of memory.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from llm4gen_data.recaption.prepare import ImageError, prepare
from tests.hostile import bombs, flat_png, mutations

MAX_PIXELS = 1024 * 1024


def attempt(data: bytes) -> tuple[str, float]:
    """What became of it, and how many seconds it took."""
    began = time.perf_counter()
    try:
        prepared = prepare(data, MAX_PIXELS)
    except ImageError as error:
        return str(error), time.perf_counter() - began
    width, height = prepared.image.size
    assert prepared.image.mode == "RGB"
    assert 0 < width * height <= MAX_PIXELS
    return "a picture", time.perf_counter() - began


def reset_peak() -> None:
    """Let the kernel measure this process's peak of memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory this process has held since, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Mutations first, whose peak is small, then bombs one by one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="mutations")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pictures: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    slowest = ("", 0.0)
    print(f"start: peak {peak_mb():.0f} MB")
    for kind, data in mutations(arguments.n, arguments.seed):
        outcome, seconds = attempt(data)
        (pictures if outcome == "a picture" else errors)[kind] += 1
        slowest = max(slowest, (kind, seconds), key=lambda entry: entry[1])
    total = pictures.total() + errors.total()
    print(f"{total} mutations: {pictures.total()} pictures, {errors.total()} image errors, 0 crashes")
    for kind in sorted(pictures | errors):
        print(f"  {kind:18s} {pictures[kind]:6d} pictures {errors[kind]:6d} errors")
    print(f"slowest mutation: {slowest[0]}, {1000 * slowest[1]:.1f} ms; peak {peak_mb():.0f} MB")
    for name, data in {**bombs(), "flat PNG of 121 megapixels": flat_png(11_000)}.items():
        reset_peak()
        before = peak_mb()
        outcome, seconds = attempt(data)
        cost = f"{len(data):>10,} bytes {1000 * seconds:6.0f} ms {peak_mb() - before:+5.0f} MB"
        print(f"  {name:36s} {cost}: {outcome[:90]}")


if __name__ == "__main__":
    main()
