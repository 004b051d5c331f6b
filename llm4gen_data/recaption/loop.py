"""Rows -> prepared images -> captioner -> journal -> committed shards, with everything that can wait in flight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from llm4gen_data.recaption.captioner import Captioner, CaptionRequest, Completion
from llm4gen_data.recaption.journal import Journal, Outcome
from llm4gen_data.recaption.prepare import ImageError, PreparedImage, prepare
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.sources.source import Source, SourceRow

# Failed rows are counted in the progress bar; only the first few of a kind are told in full.
N_TOLD = 5


class CaptionLoop:
    """One process's way through the shards: as many batches in flight as the captioner wants, each shard committed
    when its last row is in, while the others go on.

    `n_done` rows and `seconds` say afterwards what this process did. Raises what the captioner or a write raises.
    """

    def __init__(
        self,
        *,
        source: Source,
        captioner: Captioner,
        instruction: str,
        max_pixels: int,
        commit: Callable[[Shard, Sequence[SourceRow], Mapping[int, Outcome]], None],
        progress: tqdm[Any],
    ) -> None:
        self.source, self.captioner, self.progress = source, captioner, progress
        self.instruction, self.max_pixels, self.commit = instruction, max_pixels, commit
        self.room = asyncio.Semaphore(captioner.max_in_flight)
        self.n_done = 0
        self.seconds = 0.0
        self.failures: Counter[str] = Counter()

    async def run(self, pending: Sequence[Shard]) -> None:
        """Caption and commit every pending shard, then free the captioner."""
        began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                for shard in pending:
                    rows = await asyncio.to_thread(self._read, shard)
                    await self._start(group, shard, rows)
        except BaseExceptionGroup as failed:
            # the first failure cancelled the rest, whose cancellations say nothing
            raise failed.exceptions[0] from None
        finally:
            self.seconds = time.perf_counter() - began
            await self.captioner.close()

    def _read(self, shard: Shard) -> list[SourceRow]:
        return list(self.source.read(shard.start, shard.stop))

    async def _start(self, group: asyncio.TaskGroup, shard: Shard, rows: Sequence[SourceRow]) -> None:
        """Hand over the rows of a shard that its journal does not hold, as room allows."""
        journal = Journal(shard.journal)
        self.progress.update(len(journal.outcomes))
        todo = [(shard.start + i, row) for i, row in enumerate(rows) if shard.start + i not in journal.outcomes]
        if not todo:
            await self._commit(shard, rows, journal)
        for first in range(0, len(todo), self.captioner.batch_size):
            batch = todo[first : first + self.captioner.batch_size]
            await self.room.acquire()
            group.create_task(self._work(shard, rows, journal, batch))

    async def _work(
        self, shard: Shard, rows: Sequence[SourceRow], journal: Journal, batch: Sequence[tuple[int, SourceRow]]
    ) -> None:
        try:
            prepared = await asyncio.to_thread(_prepare, [row for _, row in batch], self.max_pixels)
            images = [image for image in prepared if isinstance(image, PreparedImage)]
            requests = [CaptionRequest(image.image, self.instruction) for image in images]
            completions = iter(await self.captioner.caption(requests) if requests else [])
        finally:
            self.room.release()
        for (number, row), image in zip(batch, prepared, strict=True):
            outcome = _outcome(image, next(completions)) if isinstance(image, PreparedImage) else image
            journal.append(number, outcome)
            self._count(row, outcome)
        if len(journal.outcomes) == len(rows):
            await self._commit(shard, rows, journal)

    async def _commit(self, shard: Shard, rows: Sequence[SourceRow], journal: Journal) -> None:
        journal.close()
        await asyncio.to_thread(self.commit, shard, rows, journal.outcomes)

    def _count(self, row: SourceRow, outcome: Outcome) -> None:
        self.n_done += 1
        self.progress.update()
        if outcome.status != "success":
            self.failures[outcome.status] += 1
            self.progress.set_postfix(self.failures)
        if outcome.status in ("failed_image", "failed_caption") and self.failures[outcome.status] <= N_TOLD:
            tqdm.write(f"{row.key}: {outcome.status}: {outcome.error_message}")


def _prepare(rows: Sequence[SourceRow], max_pixels: int) -> list[PreparedImage | Outcome]:
    return [_prepare_row(row, max_pixels) for row in rows]


def _prepare_row(row: SourceRow, max_pixels: int) -> PreparedImage | Outcome:
    if row.image is None:
        return Outcome("failed_download", row.download_error or "no image")
    try:
        return prepare(row.image, max_pixels)
    except ImageError as error:
        return Outcome("failed_image", str(error))


def _outcome(image: PreparedImage, completion: Completion) -> Outcome:
    return Outcome(
        status="success" if completion.error is None else "failed_caption",
        error_message=completion.error,
        caption_raw=completion.text if completion.error is None else None,
        finish_reason=completion.finish_reason if completion.error is None else None,
        n_output_tokens=completion.n_output_tokens if completion.error is None else None,
        width=image.width,
        height=image.height,
        seen_width=image.image.width,
        seen_height=image.image.height,
    )
