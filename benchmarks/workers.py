"""Scoring in several processes: each has its own metrics, one writes the journal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from benchmarks.feature_cache import FeatureCache
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.metric import Metric, load_metric
from benchmarks.records import BenchImage
from benchmarks.scoring import N_READERS, Batch, BatchScores, read_pictures, score_batch, score_progress
from llm4gen_data.errors import UserError

THREADS_VARIABLE = "OMP_NUM_THREADS"
N_AHEAD = 2  # batches a process that are handed out at a time


def score_in_processes(
    images: Sequence[BenchImage],
    options: Mapping[str, Mapping[str, Any]],
    journal: ScoreJournal,
    batches: Sequence[Batch],
    cache: Path | None,
    n_processes: int,
) -> None:
    """As `scoring.score_images`, with the metrics made from their `options` in each of `n_processes`.

    With several GPUs the processes take turns among them where a metric's device is "cuda". Raises UserError if a
    process dies.
    """
    context = multiprocessing.get_context("spawn")  # neither CUDA nor the threads of torch survive a fork
    ranks: SimpleQueue[int] = context.SimpleQueue()
    for rank in range(n_processes):
        ranks.put(rank)
    with _threads_each(n_processes), score_progress(batches) as progress:
        work = (list(images), options, cache, ranks)
        pool = ProcessPoolExecutor(n_processes, context, initializer=_start, initargs=work)
        try:
            for scores in _bounded(pool, batches, N_AHEAD * n_processes):
                journal.append(scores)
                progress.update(len(scores))
        except BrokenProcessPool as error:
            raise UserError(
                "a scoring process died (out of memory?): the same command goes on; fewer processes or a smaller "
                "batch_size need less"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Worker:
    """What a process works with."""

    images: list[BenchImage]
    metrics: dict[str, Metric]
    cache: FeatureCache | None
    readers: ThreadPoolExecutor


_worker: _Worker


def _start(
    images: list[BenchImage], options: Mapping[str, Mapping[str, Any]], cache: Path | None, ranks: SimpleQueue[int]
) -> None:
    """Runs once in each process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who writes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _take_gpu(ranks.get(), options)
    metrics = {name: load_metric(name, own) for name, own in options.items()}
    prompts = {image.prompt.prompt_id: image.prompt for image in images}
    for metric in metrics.values():
        metric.check(prompts.values())
    readers = ThreadPoolExecutor(N_READERS)
    _worker = _Worker(images, metrics, None if cache is None else FeatureCache(cache), readers)


def _score(batch: Batch) -> BatchScores:
    pictures = read_pictures(batch, _worker.images, _worker.readers)
    return score_batch(batch, _worker.images, pictures, _worker.metrics, _worker.cache)


def _bounded(pool: ProcessPoolExecutor, batches: Sequence[Batch], n_ahead: int) -> Iterator[BatchScores]:
    """The scores of batches as they are ready; never more than `n_ahead` are handed out."""
    waiting: set[Future[BatchScores]] = set()
    for batch in batches:
        waiting.add(pool.submit(_score, batch))
        if len(waiting) >= n_ahead:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _take_gpu(rank: int, options: Mapping[str, Mapping[str, Any]]) -> None:
    if any(own.get("device") == "cuda" for own in options.values()):
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(rank % torch.cuda.device_count())


@contextmanager
def _threads_each(n_processes: int) -> Iterator[None]:
    """Processes that each start a thread a core would stand in each other's way; what the user set stays."""
    before = os.environ.get(THREADS_VARIABLE)
    os.environ.setdefault(THREADS_VARIABLE, str(max(1, len(os.sched_getaffinity(0)) // n_processes)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS_VARIABLE]
