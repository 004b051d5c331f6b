"""Images in, LAION-refined out: rows -> prepared images -> captioner -> journal -> shards -> a data set with a card.

The journal entry of a row is written before the row counts as done, a shard before its marker, every marker before
the manifest: a killed run goes on with the same command, and only what was in flight is done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
    Engine,
    Sampling,
    model_fingerprint,
)
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.recaption.loop import CaptionLoop
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.registry import resolve
from llm4gen_data.runs import SCHEMA_VERSION, is_complete, open_run, read_json
from llm4gen_data.sources.source import Source, absolute, open_source


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
    with open_run(out, "recaption", to_plain(config), fingerprint):
        planned = shards.plan(source.n_rows, config.shard_rows, out)
        if not is_complete(out):
            (out / "shards").mkdir(exist_ok=True)
            pending = [shard for shard in planned if not shard.marker.exists()]
            timings = _caption_pending(config, source, pending, fingerprint) if pending else {}
            publish.publish(out, planned, fingerprint, timings)
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
        loop = CaptionLoop(
            source=source,
            captioner=captioner,
            instruction=fingerprint["instruction"],
            max_pixels=config.max_pixels,
            commit=partial(
                shards.commit,
                instruction=fingerprint["instruction"],
                gates=config.gates,
                store_images=config.store_images,
                extra_schema=source.extra_schema,
                metadata=fingerprint,
            ),
            progress=progress,
        )
        asyncio.run(loop.run(pending))
    return {
        "load_s": round(ready - began, 3),
        "caption_s": round(loop.seconds, 3),
        "rows_per_s": round(loop.n_done / loop.seconds, 3),
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
