"""Images in, LAION-refined out: rows -> prepared images -> captioner -> journal -> shards -> a data set with a card.

The journal entry of a row is written before the row counts as done, a shard before its marker, every marker before
the manifest: a killed run goes on with the same command, and only what was in flight is done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption import publish, shards
from llm4gen_data.recaption.captioner import (
    CAPTIONERS,
    DEFAULT_MODEL,
    Captioner,
    CaptionRequest,
    Completion,
    Engine,
    Sampling,
    model_fingerprint,
)
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.recaption.journal import Journal, Outcome
from llm4gen_data.recaption.prepare import ImageError, PreparedImage, prepare
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.registry import resolve
from llm4gen_data.runs import SCHEMA_VERSION, is_complete, open_run, read_json
from llm4gen_data.sources.source import Source, SourceRow, absolute, open_source


@dataclass(frozen=True, slots=True)
class RecaptionConfig:
    """What to caption and how.

    `source` is what `sources.source.open_source` takes; `instruction` a name of `instructions.INSTRUCTIONS` or the
    instruction itself; images are shrunk to at most `max_pixels`; a shard holds `shard_rows` input rows. A run in
    which more than `max_failed_share` of the images could not be captioned is written in full and ends with
    exit code 1.
    """

    source: str
    captioner: str = "vllm"
    model: str = DEFAULT_MODEL
    revision: str | None = None
    instruction: str = "dense"
    max_pixels: int = 1024 * 1024
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    gates: Gates = field(default_factory=Gates)
    store_images: bool = True
    shard_rows: int = 1000
    max_failed_share: float = 0.1


def run(config: RecaptionConfig, out: Path) -> None:
    """Caption every row of the source into the run directory `out`, or go on where an earlier start stopped.

    Raises UserError for a source or model that cannot be used, an engine that died, or a changed configuration.
    """
    _check(config)
    # the run may be verified from another folder
    config = replace(config, source=absolute(config.source))
    source = open_source(config.source)
    fingerprint = _fingerprint(config, source)
    started = datetime.now(UTC)
    with open_run(out, "recaption", to_plain(config), fingerprint):
        planned = shards.plan(source.n_rows, config.shard_rows, out)
        if not is_complete(out):
            (out / "shards").mkdir(exist_ok=True)
            pending = [shard for shard in planned if not shard.marker.exists()]
            timings = _caption_pending(config, source, pending, fingerprint) if pending else {}
            publish.publish(out, planned, fingerprint, started, timings)
        print(publish.summary(out))
    _refuse_too_many_failures(out, config.max_failed_share)


def _check(config: RecaptionConfig) -> None:
    resolve("captioner", config.captioner, CAPTIONERS)
    for name in ("max_pixels", "shard_rows"):
        if getattr(config, name) < 1:
            raise UsageError(f"{name} = {getattr(config, name)}: expected at least 1")
    if config.sampling.max_tokens < 1:
        raise UsageError(f"sampling.max_tokens = {config.sampling.max_tokens}: expected at least 1")
    if config.instruction not in INSTRUCTIONS and " " not in config.instruction.strip():
        raise UsageError(
            f"instruction {config.instruction!r} is unknown: expected one of {', '.join(INSTRUCTIONS)}, or a sentence"
        )


def _fingerprint(config: RecaptionConfig, source: Source) -> dict[str, Any]:
    """Everything that can change a caption or a byte of a shard."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source": source.fingerprint(),
        "captioner": config.captioner,
        "model": _model_fingerprint(config),
        "dtype": config.engine.dtype,
        "instruction": INSTRUCTIONS.get(config.instruction, config.instruction),
        "sampling": to_plain(config.sampling),
        "gates": to_plain(config.gates),
        "max_pixels": config.max_pixels,
        "store_images": config.store_images,
        "shard_rows": config.shard_rows,
    }


def _model_fingerprint(config: RecaptionConfig) -> dict[str, str | None] | None:
    if config.captioner == "dummy":
        return None
    if config.captioner == "endpoint":  # a server's name for its model is all one can know
        return {"model": config.model, "revision": config.revision}
    return model_fingerprint(config.model, config.revision)


def _caption_pending(
    config: RecaptionConfig, source: Source, pending: Sequence[Shard], fingerprint: dict[str, Any]
) -> dict[str, float]:
    """Caption the shards that have no marker yet; seconds to a ready engine and of captioning, rows per second."""
    began = time.perf_counter()
    with _ticking(f"loading {config.model} in {config.captioner}"):
        captioner: Captioner = resolve("captioner", config.captioner, CAPTIONERS)(
            config.model, config.revision, config.sampling, config.engine
        )
    ready = time.perf_counter()
    n_rows = sum(shard.stop - shard.start for shard in pending)
    with tqdm(total=source.n_rows, initial=source.n_rows - n_rows, unit="img", desc="recaption") as progress:
        work = _Recaption(config, source, captioner, fingerprint, progress)
        asyncio.run(work.run(pending))
    return {
        "load_s": round(ready - began, 3),
        "caption_s": round(work.seconds, 3),
        "rows_per_s": round(work.n_done / work.seconds, 3),
    }


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


class _Recaption:
    """The work in flight of one process: which rows are out, which shards are open."""

    def __init__(
        self,
        config: RecaptionConfig,
        source: Source,
        captioner: Captioner,
        fingerprint: dict[str, Any],
        progress: tqdm[Any],
    ) -> None:
        self.config, self.source, self.captioner = config, source, captioner
        self.fingerprint, self.progress = fingerprint, progress
        self.instruction = INSTRUCTIONS.get(config.instruction, config.instruction)
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
            prepared = await asyncio.to_thread(_prepare, [row for _, row in batch], self.config.max_pixels)
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
        await asyncio.to_thread(
            shards.commit,
            shard,
            rows,
            journal.outcomes,
            instruction=self.instruction,
            gates=self.config.gates,
            store_images=self.config.store_images,
            extra_schema=self.source.extra_schema,
            metadata=self.fingerprint,
        )

    def _count(self, row: SourceRow, outcome: Outcome) -> None:
        self.n_done += 1
        self.progress.update()
        if outcome.status != "success":
            self.failures[outcome.status] += 1
            self.progress.set_postfix(self.failures)
        if outcome.status in ("failed_image", "failed_caption") and self.failures[outcome.status] <= 5:
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


def _refuse_too_many_failures(out: Path, max_failed_share: float) -> None:
    """Downloads that failed earlier do not count: they are the network's, and were reported by `download`."""
    manifest = read_json(out / "manifest.json")
    status = manifest["status"]
    n_images = manifest["n_rows"] - status.get("failed_download", 0)
    failed = {name: n for name, n in status.items() if name in ("failed_image", "failed_caption")}
    if n_images and sum(failed.values()) > max_failed_share * n_images:
        first = next((e for e in manifest["errors"] if not e.startswith("failed_download")), "")
        raise UserError(
            f"{out}: {sum(failed.values())} of {n_images} images have no caption ({first}); "
            "the rows are written, with their reasons in error_message"
        )
