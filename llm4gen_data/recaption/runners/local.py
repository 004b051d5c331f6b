"""One captioner in this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from llm4gen_data.recaption.journal import Outcome
from llm4gen_data.recaption.loop import CaptionJob, CaptionLoop, OnRow
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.recaption.status import FAILED_DOWNLOAD, SUCCESS
from llm4gen_data.sources.source import SourceRow

# Failed rows are counted in the progress bar; only the first few of a kind are told in full.
N_TOLD = 5


def caption(job: CaptionJob, pending: Sequence[Shard], progress: tqdm[Any]) -> dict[str, float]:
    """Caption and commit `pending`; seconds to a ready engine and of captioning, rows per second."""
    began = time.perf_counter()
    # not inside asyncio.run, where Ctrl-C would wait for the engine to be ready
    with _ticking(f"loading {job.config.model} in {job.config.captioner}"):
        loop = job.open_loop(told(progress))
    load_s = time.perf_counter() - began
    seconds = asyncio.run(_caption(loop, pending))
    return {
        "load_s": round(load_s, 3),
        "caption_s": round(seconds, 3),
        "rows_per_s": round(loop.n_done / seconds, 3) if seconds else 0.0,
    }


async def _caption(loop: CaptionLoop, pending: Sequence[Shard]) -> float:
    """Caption, whatever happens free the captioner; seconds of captioning."""
    try:
        await loop.caption(pending)
        return loop.seconds
    finally:
        await loop.close()


def told(progress: tqdm[Any]) -> OnRow:
    """A row done moves the bar; failures are counted beside it, the first few of a kind told in full."""
    failures: Counter[str] = Counter()

    def on_row(row: SourceRow, outcome: Outcome) -> None:
        progress.update()
        if outcome.status == SUCCESS:
            return
        failures[outcome.status] += 1
        progress.set_postfix(failures)
        if outcome.status != FAILED_DOWNLOAD and failures[outcome.status] <= N_TOLD:
            tqdm.write(f"{row.key!r}: {outcome.status}: {outcome.error_message}")

    return on_row


@contextlib.contextmanager
def _ticking(description: str) -> Iterator[None]:
    """Show the seconds that pass while something without a rate happens."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1.0):
            bar.refresh()

    with tqdm(desc=description, bar_format="{desc}: {elapsed}") as bar:
        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
