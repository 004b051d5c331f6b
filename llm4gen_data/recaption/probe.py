"""`llm4gen-data probe`: does a model caption the same alone and in a batch, and which side of a run would starve."""

from __future__ import annotations

import asyncio
import io
import itertools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CAPTIONERS, Captioner, CaptionRequest, Completion
from llm4gen_data.recaption.config import RecaptionConfig, check
from llm4gen_data.recaption.prepare import PreparedImage
from llm4gen_data.recaption.preparing import FEW_CORES, MAX_PROCESSES, default_processes, prepare_all
from llm4gen_data.registry import resolve
from llm4gen_data.sources.source import open_source

# What the web serves most: (width, height) in pixels.
DRAWN_SIZES = ((512, 512), (1024, 768), (1024, 1024))
N_COMPARED = 8
ENGINE_LIMIT_S = 30.0
# Preparation should bring this much more than the engine takes, so that large images in a row do not stop it.
HEADROOM = 1.2


@dataclass(frozen=True, slots=True)
class EngineRate:
    """What an engine did when it never had to wait for images."""

    images_per_s: float
    tokens_per_s: float
    error: str | None


def probe(config: RecaptionConfig, n: int) -> None:
    """Measure with `n` images of the source (drawn ones without a source) and print what was found, and what to set.

    Raises UserError for a source without pictures and for a captioner that cannot be started or that only fails.
    """
    check(config)
    # greedy, or answers to the same question would differ by design
    config = replace(config, sampling=replace(config.sampling, temperature=0.0))
    encoded = read_images(config.source, n) if config.source else draw_images(n)
    prepared, prepared_per_s = prepare_timed(encoded, config.max_pixels)
    if not prepared:
        raise UserError(f"{config.source}: no picture among its first {n} rows")
    began = time.perf_counter()
    # not inside asyncio.run, where Ctrl-C would wait for the engine to be ready
    captioner: Captioner = resolve("captioner", config.captioner, CAPTIONERS)(config.captioner_settings())
    load_s = time.perf_counter() - began
    asyncio.run(_probe_engine(config, captioner, load_s, prepared, prepared_per_s))


async def _probe_engine(
    config: RecaptionConfig,
    captioner: Captioner,
    load_s: float,
    images: Sequence[PreparedImage],
    prepared_per_s: float,
) -> None:
    try:
        asked = [
            [CaptionRequest(image.image, instruction.ask(None)) for instruction in config.parsed_instructions()]
            for image in images
        ]
        compared = await compare(captioner, [requests[0] for requests in asked[:N_COMPARED]])
        rate = await engine_rate(captioner, asked, ENGINE_LIMIT_S)
    finally:
        await captioner.close()
    if rate.images_per_s == 0:
        raise UserError(f"{config.captioner} with {config.model} captioned nothing: {rate.error}")
    n_equal = sum(alone == together for alone, together in compared)
    cores = len(os.sched_getaffinity(0))
    suggested = suggested_processes(prepared_per_s, rate.images_per_s, cores)
    n_processes = config.engine.prepare_processes
    n_processes = default_processes() if n_processes is None else n_processes
    brought = max(1, n_processes) * prepared_per_s
    seen = sorted({image.image.size for image in images})
    rows = {
        "captioner": f"{config.captioner} with {config.model}, ready in {load_s:.1f} s",
        "images": f"{len(images)} {'of ' + config.source if config.source else 'drawn'}, "
        f"seen at {_size(seen[0])}{' to ' + _size(seen[-1]) if len(seen) > 1 else ''} pixels",
        "preparation": f"{prepared_per_s:.1f} images/s a process; {cores} cores",
        "engine": f"{rate.images_per_s:.1f} images/s x {len(asked[0])} captions, {rate.tokens_per_s:.0f} tokens/s",
        "alone = in a batch": f"{n_equal} of {len(compared)} captions equal",
        "starving": f"the engine: {brought:.1f} images/s are prepared for it"
        if brought < rate.images_per_s
        else f"nothing: {brought:.1f} images/s can be prepared, by {n_processes or 'threads, not'} processes",
        "suggestion": f"--set engine.prepare_processes={suggested}",
    }
    print("\n".join(f"{name:20s}{value}" for name, value in rows.items()))
    for alone, together in compared:
        if alone != together:
            print(f"  alone:      {alone}\n  in a batch: {together}")


def read_images(source: str, n: int) -> list[bytes]:
    """The encoded images of the first `n` rows; rows without one are left out."""
    opened = open_source(source)
    return [row.image for row in opened.read(0, min(n, opened.n_rows)) if row.image is not None]


def draw_images(n: int) -> list[bytes]:
    """JPEG pictures as large and as detailed as photographs: soft shapes under grain."""
    rng = np.random.default_rng(0)
    encoded = []
    for _, (width, height) in zip(range(n), itertools.cycle(DRAWN_SIZES), strict=False):
        shapes = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height))
        pixels = np.asarray(shapes) + rng.normal(0, 8, (height, width, 1))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def prepare_timed(encoded: Sequence[bytes], max_pixels: int) -> tuple[list[PreparedImage], float]:
    """The images as the captioner sees them, without those that cannot be read, and images/s of this one process."""
    began = time.perf_counter()
    prepared = prepare_all(encoded, max_pixels)
    seconds = time.perf_counter() - began
    return [image for image in prepared if isinstance(image, PreparedImage)], len(encoded) / seconds


async def compare(captioner: Captioner, requests: Sequence[CaptionRequest]) -> list[tuple[str, str]]:
    """What the captioner says to each request alone, and to all of them together; an error counts as an answer."""
    alone = [(await captioner.caption([request]))[0] for request in requests]
    together = await captioner.caption(requests)
    return [(_text(one), _text(other)) for one, other in zip(alone, together, strict=True)]


async def engine_rate(captioner: Captioner, asked: Sequence[Sequence[CaptionRequest]], limit_s: float) -> EngineRate:
    """How fast the captioner is with twice the images that it wants in flight, or what it did within `limit_s`.

    `asked` holds the requests about each image; images are asked about again where they are fewer.
    """
    room = asyncio.Semaphore(captioner.max_in_flight)
    n = max(len(asked), 2 * captioner.max_in_flight * captioner.batch_size)
    done: list[Completion] = []

    async def work(requests: list[CaptionRequest]) -> None:
        try:
            done.extend(await captioner.caption(requests))
        finally:
            room.release()

    began = time.perf_counter()
    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            images = itertools.islice(itertools.cycle(asked), n)
            while batch := list(itertools.islice(images, captioner.batch_size)):
                await room.acquire()
                group.create_task(work([request for requests in batch for request in requests]))
    except TimeoutError:
        pass
    seconds = time.perf_counter() - began
    answered = [completion for completion in done if completion.error is None]
    error = next((completion.error for completion in done if completion.error is not None), None)
    return EngineRate(
        images_per_s=len(answered) / len(asked[0]) / seconds,
        tokens_per_s=sum(completion.n_output_tokens for completion in answered) / seconds,
        error=error or (None if answered else f"no answer within {limit_s:.0f} s"),
    )


def suggested_processes(prepared_per_s: float, engine_images_per_s: float, cores: int) -> int:
    """Processes that keep the engine fed; 0 (threads) where one is more than enough or the cores are the engine's."""
    if cores <= FEW_CORES or prepared_per_s >= 2 * HEADROOM * engine_images_per_s:
        return 0
    return min(math.ceil(HEADROOM * engine_images_per_s / prepared_per_s), cores - 1, MAX_PROCESSES)


def _text(completion: Completion) -> str:
    return completion.text if completion.error is None else f"error: {completion.error}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
