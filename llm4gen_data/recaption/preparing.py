"""Where images are prepared: in threads beside the engine, or in worker processes where there are cores for them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from llm4gen_data.orphans import end_with_parent
from llm4gen_data.recaption.prepare import ImageError, PreparedImage, prepare

# With this many cores or fewer, the engine needs them more: a process beside it cost a quarter of the throughput.
FEW_CORES = 4
MAX_PROCESSES = 8

Prepared = PreparedImage | ImageError


def default_processes() -> int:
    """How many processes prepare images unless told: none where cores are scarce; `probe` measures what suits."""
    cores = len(os.sched_getaffinity(0))
    return 0 if cores <= FEW_CORES else min(MAX_PROCESSES, cores // 2)


class Preparation:
    """Images to what the captioner sees, at most `max_pixels` each; close it when done."""

    def __init__(self, max_pixels: int, n_processes: int | None = None) -> None:
        self._max_pixels = max_pixels
        self._n_processes = default_processes() if n_processes is None else n_processes
        self._pool = self._start(self._n_processes) if self._n_processes else None

    async def __call__(self, images: Sequence[bytes]) -> list[Prepared]:
        """One prepared image or the reason why not for each of the encoded `images`."""
        if self._pool is None:
            return await asyncio.to_thread(prepare_all, images, self._max_pixels)
        pool = self._pool
        try:
            return await asyncio.wrap_future(pool.submit(prepare_all, images, self._max_pixels))
        except BrokenProcessPool:
            # an image took the process down with it: a new pool for all others, and each of these by itself
            if self._pool is pool:
                self._pool = self._start(self._n_processes)
                pool.shutdown(wait=False)
            return [await self._alone(image) for image in images]

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _alone(self, image: bytes) -> Prepared:
        pool = self._start(1)
        try:
            prepared = await asyncio.wrap_future(pool.submit(prepare_all, [image], self._max_pixels))
        except BrokenProcessPool:
            return ImageError("its decoder crashed")
        finally:
            pool.shutdown(wait=False)
        return prepared[0]

    @staticmethod
    def _start(n: int) -> ProcessPoolExecutor:
        # not by fork: the engine beside it has threads and, with a GPU, a driver
        return ProcessPoolExecutor(n, multiprocessing.get_context("forkserver"), initializer=_begin)


def prepare_all(images: Sequence[bytes], max_pixels: int) -> list[Prepared]:
    """Prepare one after the other, with errors as values."""
    return [_prepare_one(image, max_pixels) for image in images]


def _prepare_one(image: bytes, max_pixels: int) -> Prepared:
    try:
        return prepare(image, max_pixels)
    except ImageError as error:
        return error


def _begin() -> None:
    # Ctrl-C reaches the whole process group; the parent decides when its workers end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
