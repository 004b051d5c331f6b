"""Rows -> prepared images -> captioner -> journal -> committed shards, with everything that can wait in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.recaption import status
from llm4gen_data.recaption.captioner import (
    CAPTIONERS,
    Captioner,
    CaptionRequest,
    Completion,
    EngineDied,
)
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.gates import clean
from llm4gen_data.recaption.journal import Answer, Journal, Outcome
from llm4gen_data.recaption.objects import is_denied, named_objects, object_question
from llm4gen_data.recaption.prepare import ImageError, PreparedImage
from llm4gen_data.recaption.preparing import Preparation
from llm4gen_data.recaption.shards import Shard, commit
from llm4gen_data.registry import resolve
from llm4gen_data.sources.source import Source, SourceRow, open_source

OnRow = Callable[[SourceRow, Outcome], None]

# An engine that dies on this many lone pictures in a row, without an answer in between, is beyond help by restarting.
MAX_LONE_DEATHS_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class CaptionJob:
    """All that a worker needs to do shards of a run, wherever it runs; plain data that can be pickled."""

    config: RecaptionConfig
    out: Path
    fingerprint: Mapping[str, Any]

    def open_loop(self, on_row: OnRow) -> CaptionLoop:
        """Open the source and start the captioner, which may take a minute; `on_row` is told of every finished row,
        also of those in journals."""
        return CaptionLoop(self, open_source(self.config.source), on_row)

    def start_captioner(self) -> Captioner:
        """A captioner ready to work."""
        captioner: Captioner = resolve("captioner", self.config.captioner, CAPTIONERS)(
            self.config.captioner_settings()
        )
        return captioner


@dataclass(slots=True)
class Sheet:
    """A shard under way: its rows, and the journal of what became of them."""

    shard: Shard
    rows: Sequence[SourceRow]
    journal: Journal


class CaptionLoop:
    """One captioner's way through shards: as many batches in flight as it wants, each shard committed when its last
    row is in, while others go on.

    `n_done` rows and `seconds` (from the first row on) say what was done. After an engine died, the rows that were
    in flight go on one at a time, alone, so that the one it dies on again is known for sure.
    """

    def __init__(self, job: CaptionJob, source: Source, on_row: OnRow) -> None:
        self._job, self._source, self._on_row = job, source, on_row
        self._instructions = job.config.parsed_instructions()
        self._captioner = job.start_captioner()
        self._prepare = Preparation(job.config.max_pixels, job.config.engine.prepare_processes)
        self._room = asyncio.Semaphore(self._captioner.max_in_flight)
        self._generation = 0  # of the captioner: counts its deaths
        self._lone_deaths_in_a_row = 0
        self._restarting = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._n_suspects = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._began: float | None = None
        self.n_done = 0

    @property
    def seconds(self) -> float:
        """Since the first row was asked for."""
        return 0.0 if self._began is None else time.perf_counter() - self._began

    async def caption(self, shards: Iterable[Shard]) -> None:
        """Caption and commit `shards`; several calls side by side share what is in flight.

        Raises UserError if the engine cannot go on; what a write raises.
        """
        self._began = self._began or time.perf_counter()
        journals: list[Journal] = []
        try:
            async with asyncio.TaskGroup() as group:
                for shard in shards:
                    rows = await asyncio.to_thread(self._read, shard)
                    journals = [journal for journal in journals if not journal.closed]
                    journals.append(Journal(shard.journal))
                    await self._start(group, Sheet(shard, rows, journals[-1]))
        except BaseExceptionGroup as failed:
            # the first failure cancelled the rest, whose cancellations say nothing
            raise failed.exceptions[0] from None
        finally:
            for journal in journals:
                journal.close()

    async def close(self) -> None:
        """Free the captioner and the processes that prepare images."""
        self._prepare.close()
        await self._captioner.close()

    def _read(self, shard: Shard) -> list[SourceRow]:
        return list(self._source.read(shard.start, shard.stop))

    async def _start(self, group: asyncio.TaskGroup, sheet: Sheet) -> None:
        """Hand over the rows of a shard that its journal does not hold, as room allows."""
        if sheet.shard.marker.exists():  # another process did it since
            sheet.journal.close()
            sheet.journal.path.unlink(missing_ok=True)
            return
        outcomes = sheet.journal.outcomes
        for number, outcome in outcomes.items():
            self._on_row(sheet.rows[number - sheet.shard.start], outcome)
        todo = [number for number in range(sheet.shard.start, sheet.shard.stop) if number not in outcomes]
        if not todo:
            await self._commit(sheet)
        for first in range(0, len(todo), self._captioner.batch_size):
            batch = todo[first : first + self._captioner.batch_size]
            await self._room.acquire()
            group.create_task(self._work(sheet, batch))

    async def _work(self, sheet: Sheet, numbers: Sequence[int]) -> None:
        rows = [sheet.rows[number - sheet.shard.start] for number in numbers]
        try:
            outcomes = await self._outcomes(rows)
        finally:
            self._room.release()
        sheet.journal.append(dict(zip(numbers, outcomes, strict=True)))
        self.n_done += len(rows)
        for row, outcome in zip(rows, outcomes, strict=True):
            self._on_row(row, outcome)
        if len(sheet.journal.outcomes) == len(sheet.rows):
            await self._commit(sheet)

    async def _commit(self, sheet: Sheet) -> None:
        sheet.journal.close()
        await asyncio.to_thread(
            commit,
            sheet.shard,
            sheet.rows,
            sheet.journal.outcomes,
            self._job.config,
            self._source.extra_schema,
            self._job.fingerprint,
        )

    async def _outcomes(self, rows: Sequence[SourceRow]) -> list[Outcome]:
        """What becomes of rows that are handed over together."""
        prepared = iter(await self._prepare([row.image for row in rows if row.image is not None]))
        images = [None if row.image is None else next(prepared) for row in rows]
        pictures = [(row, image) for row, image in zip(rows, images, strict=True) if isinstance(image, PreparedImage)]
        answered = iter(await self._answer(pictures) if pictures else [])
        outcomes = []
        for row, image in zip(rows, images, strict=True):
            if image is None:
                outcomes.append(Outcome(status.FAILED_DOWNLOAD, row.download_error or "no image"))
            elif isinstance(image, ImageError):
                outcomes.append(Outcome(status.FAILED_IMAGE, str(image)))
            else:
                outcomes.append(next(answered))
        return outcomes

    async def _answer(self, pictures: Sequence[tuple[SourceRow, PreparedImage]]) -> list[Outcome]:
        """Ask about the pictures together; after a death of the engine, about each alone."""
        await self._calm.wait()
        generation = self._generation
        try:
            return await self._ask(pictures)
        except EngineDied:
            self._n_suspects += len(pictures)
            self._calm.clear()
            await self._restart(generation)
        outcomes = []
        for row, image in pictures:
            async with self._alone:
                generation = self._generation
                try:
                    outcomes += await self._ask([(row, image)])
                except EngineDied as died:
                    self._lone_deaths_in_a_row += 1
                    if self._lone_deaths_in_a_row >= MAX_LONE_DEATHS_IN_A_ROW:
                        raise UserError(
                            f"the engine died on {MAX_LONE_DEATHS_IN_A_ROW} pictures in a row ({died}); "
                            "the same command again goes on from here"
                        ) from died
                    outcomes.append(_outcome(image, status.QUARANTINED, f"the engine died on it twice: {died}"))
                    await self._restart(generation)
            self._n_suspects -= 1
        if self._n_suspects == 0:
            self._calm.set()
        return outcomes

    async def _restart(self, generation: int) -> None:
        """Start a new captioner in the place of the one of `generation`, unless that has been done."""
        async with self._restarting:
            if generation != self._generation:
                return
            await self._captioner.close()
            self._captioner = await asyncio.to_thread(self._job.start_captioner)
            self._generation += 1

    async def _ask(self, pictures: Sequence[tuple[SourceRow, PreparedImage]]) -> list[Outcome]:
        """All instructions about all pictures, those about one picture together. Raises EngineDied."""
        requests = [
            CaptionRequest(image.image, instruction.ask(row.alt_text))
            for row, image in pictures
            for instruction in self._instructions
        ]
        completions = await self._captioner.caption(requests)
        self._lone_deaths_in_a_row = 0
        n = len(self._instructions)
        outcomes = []
        for i, (_, image) in enumerate(pictures):
            outcome = self._captioned(image, completions[i * n : (i + 1) * n])
            if self._job.config.object_check and outcome.status == status.SUCCESS:
                outcome = await self._check_objects(image, outcome)
            outcomes.append(outcome)
        return outcomes

    def _captioned(self, image: PreparedImage, completions: Sequence[Completion]) -> Outcome:
        failed = next((completion for completion in completions if completion.error is not None), None)
        if failed is not None:
            return _outcome(
                image, status.FAILED_TRANSIENT if failed.transient else status.FAILED_CAPTION, failed.error
            )
        answers = {
            # a server may send half a surrogate pair, which no UTF-8 file can hold
            instruction.name: Answer(
                completion.text.encode("utf-8", "replace").decode(),
                completion.finish_reason,
                completion.n_output_tokens,
            )
            for instruction, completion in zip(self._instructions, completions, strict=True)
        }
        return _outcome(image, status.SUCCESS, None, answers)

    async def _check_objects(self, image: PreparedImage, outcome: Outcome) -> Outcome:
        """Ask whether what the first caption names is there. An answer that cannot be had leaves the columns null."""
        named = named_objects(clean(outcome.answers[self._instructions[0].name].caption_raw))
        asked = [CaptionRequest(image.image, object_question(noun)) for noun in named]
        completions = await self._captioner.caption(asked) if asked else []
        if any(completion.error is not None for completion in completions):
            return outcome
        denied = [noun for noun, answer in zip(named, completions, strict=True) if is_denied(answer.text)]
        return _outcome(image, status.SUCCESS, None, outcome.answers, named, denied)


def _outcome(
    image: PreparedImage,
    what: str,
    error_message: str | None,
    answers: Mapping[str, Answer] | None = None,
    objects_named: list[str] | None = None,
    objects_denied: list[str] | None = None,
) -> Outcome:
    return Outcome(
        status=what,
        error_message=error_message,
        answers=answers or {},
        width=image.width,
        height=image.height,
        seen_width=image.image.width,
        seen_height=image.image.height,
        objects_named=objects_named,
        objects_denied=objects_denied,
    )
