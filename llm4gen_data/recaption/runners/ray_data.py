"""Captioners side by side, on one machine or many: Ray Data actors, each the same loop as in one process.

A shard is done by whichever actor gets it, and written by that actor into the run directory, which all machines must
share; through Ray pass only numbers of shards and what became of failed rows. When an actor or its machine is lost,
its shards go to another, which reads their journals and goes on from there.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import secrets
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.journal import Outcome
from llm4gen_data.recaption.loop import CaptionJob, CaptionLoop
from llm4gen_data.recaption.runners.local import told
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.recaption.status import SUCCESS
from llm4gen_data.sources.source import SourceRow

# Two at once keep an engine full while the first of them ends.
BLOCKS_AT_ONCE = 2
# Each costs Ray about a millisecond and a kilobyte before the first is done; progress moves a block at a time.
MAX_BLOCKS = 10_000
# A row that takes its process down with it each time must not do so for ever.
MAX_RETRIES = 4
# What Ray would tell its developers, or send to them, unless the user asks for it.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DATA_LOG_LEVEL": "CRITICAL"}


class CaptionWorker:
    """One engine in an actor of its own, called with ranges of `pending`, BLOCKS_AT_ONCE side by side.

    What ends the run (no such model, a full disk) is returned, pickled, so that it ends in one line as elsewhere.
    Nothing closes the engine: it ends with the actor's process.
    """

    def __init__(self, job: CaptionJob, pending: Sequence[Shard]) -> None:
        self._pending = pending
        self._failed: list[tuple[str, str, str]] = []
        began = time.perf_counter()
        self._loop: CaptionLoop | Exception
        try:
            self._loop = job.open_loop(self._on_row)
        except (UserError, OSError) as error:
            self._loop = error
        self._load_s = time.perf_counter() - began

    async def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Caption shards `start` to `stop` of `pending`; `failed` has key, status and message of failed rows."""
        try:
            if isinstance(self._loop, Exception):
                raise self._loop
            await self._loop.caption(self._pending[block["start"] : block["stop"]])
        except (UserError, OSError) as error:
            return {"error": pickle.dumps(error), "failed": b"", "load_s": self._load_s, **block}
        # of a block beside this one perhaps, but each is told once
        failed, self._failed = self._failed, []
        return {"error": b"", "failed": pickle.dumps(failed), "load_s": self._load_s, **block}

    def _on_row(self, row: SourceRow, outcome: Outcome) -> None:
        if outcome.status != SUCCESS:
            self._failed.append((row.key, outcome.status, outcome.error_message or ""))


def caption(job: CaptionJob, pending: Sequence[Shard], progress: tqdm[Any]) -> dict[str, float]:
    """Caption and commit `pending` in `n_workers` actors; seconds to the last ready engine and since, rows per second.

    The cluster is the one that RAY_ADDRESS names, or one of this machine's own for as long as this takes. Raises
    UserError if Ray is missing or gives up, and what ended a worker's loop.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("runner 'ray' needs Ray: pip install 'llm4gen[ray]'") from error
    # workers may have another current folder
    job = replace(job, out=job.out.absolute())
    pending = [replace(shard, folder=shard.folder.absolute()) for shard in pending]
    on_row = told(progress)
    began, load_s, n_rows = time.perf_counter(), 0.0, 0
    with _cluster(job.config.n_workers):
        try:
            for block in _blocks(job, pending):
                if block["error"]:
                    raise pickle.loads(block["error"])
                failed = pickle.loads(block["failed"])
                for key, status, message in failed:
                    on_row(SourceRow(key, None), Outcome(status, message))
                n_block = sum(shard.stop - shard.start for shard in pending[block["start"] : block["stop"]])
                progress.update(n_block - len(failed))
                n_rows += n_block
                load_s = max(load_s, block["load_s"])
        except ray.exceptions.RayTaskError:  # a mistake of ours: its traceback is wanted
            raise
        except ray.exceptions.RayError as error:
            raise UserError(
                f"Ray gave up: {str(error).splitlines()[0]} (a worker that ends {MAX_RETRIES + 1} times over the same "
                "rows is not started again); the same command again goes on from here"
            ) from error
    caption_s = time.perf_counter() - began - load_s
    return {
        "load_s": round(load_s, 3),
        "caption_s": round(caption_s, 3),
        "rows_per_s": round(n_rows / caption_s, 3),
    }


def _blocks(job: CaptionJob, pending: Sequence[Shard]) -> Iterator[dict[str, Any]]:
    """What became of each block of shards, in the order in which they end."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    size = math.ceil(len(pending) / MAX_BLOCKS)
    starts = range(0, len(pending), size)
    blocks = [{"start": start, "stop": min(start + size, len(pending))} for start in starts]
    with warnings.catch_warnings():
        # max_task_retries is to get another name, which does not exist yet
        warnings.simplefilter("ignore", DeprecationWarning)
        done = ray.data.from_items(blocks, override_num_blocks=len(blocks)).map(
            CaptionWorker,
            fn_constructor_args=(job, pending),
            compute=ray.data.ActorPoolStrategy(
                size=min(job.config.n_workers, len(blocks)), max_concurrent_calls_per_actor=BLOCKS_AT_ONCE
            ),
            num_cpus=1,
            num_gpus=_gpus_per_worker(job.config),
            max_task_retries=MAX_RETRIES,
        )
    yield from done.iter_rows()


def _gpus_per_worker(config: RecaptionConfig) -> int | None:
    """As many GPUs as the engine spreads over, where the cluster has any and the captioner is a model."""
    import ray

    if config.captioner in ("dummy", "endpoint") or not ray.cluster_resources().get("GPU"):
        return None
    return int(config.engine.vllm.get("tensor_parallel_size", 1)) * int(
        config.engine.vllm.get("pipeline_parallel_size", 1)
    )


@contextmanager
def _cluster(n_workers: int) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start one here that leaves nothing behind."""
    import ray

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
        try:
            yield
        finally:
            ray.shutdown()
        return
    # a short path, as those of sockets are limited
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # else Ray writes one into the home folder
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init(
            # CPUs are Ray's permission to run, not cores: fewer than this and its operators wait for each other
            num_cpus=max(os.cpu_count() or 1, n_workers + 2),
            object_store_memory=2**28,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()
