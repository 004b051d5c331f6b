"""Images in, LAION-refined out: rows -> prepared images -> captioner -> journal -> shards -> a data set with a card.

The journal entry of a row is written before the row counts as done, a shard before its marker, every marker before
the manifest: a killed run goes on with the same command, and only what was in flight is done again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption import publish, shards
from llm4gen_data.recaption.captioner import model_fingerprint
from llm4gen_data.recaption.config import RUNNERS, RecaptionConfig, check
from llm4gen_data.recaption.loop import CaptionJob
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.recaption.status import FAILED_DOWNLOAD, FAILURE_CLASSES, SUCCESS
from llm4gen_data.recaption.verdicts import check_gates
from llm4gen_data.registry import resolve
from llm4gen_data.runs import SCHEMA_VERSION, command_of, diff, is_complete, open_run, read_json
from llm4gen_data.sources.source import Source, absolute, open_source


def run(
    config: RecaptionConfig,
    out: Path,
    *,
    rows: tuple[int, int | None] | None = None,
    retry_failed: Sequence[str] = (),
) -> None:
    """Caption every row of the source into the run directory `out`, or go on where an earlier start stopped.

    With `rows` = (start, stop) only the shards that begin there, beside other processes that do the same for other
    rows; the last of them publishes. `retry_failed` names classes of `journal.FAILURE_CLASSES`: rows that failed so
    are done again. Raises UserError for a source or model that cannot be used, an engine that died for good, or a
    changed configuration.
    """
    check(config)
    check_gates(config.gates, store_images=config.store_images)
    # the run may be verified from another folder
    config = replace(config, source=absolute(config.source))
    source = open_source(config.source)
    fingerprint = run_fingerprint(config, source)
    # a branch of the hub may move on while this works: what is loaded is what was recorded
    config = replace(config, revision=(fingerprint["model"] or {}).get("revision") or config.revision)
    planned = shards.plan(source.n_rows, config.shard_rows, out)
    mine = _beginning_in(planned, rows) if rows is not None else planned
    _refuse_other_gates(config, out)
    with open_run(out, "recaption", to_plain(config), fingerprint, shared=rows is not None):
        if retry_failed:
            _reopen(config, out, mine, retry_failed)
        if not is_complete(out):
            (out / "shards").mkdir(exist_ok=True)
            timings = _caption_pending(config, source, out, mine, fingerprint)
            with _publishing(out):
                if any(not shard.marker.exists() for shard in planned):
                    n_done = sum(shard.marker.exists() for shard in planned)
                    print(f"{out}: {n_done} of {len(planned)} shards done; the process that does the last publishes")
                    return
                if not is_complete(out):
                    publish.publish(out, planned, fingerprint, timings)
        print(publish.summary(out))
    _refuse_too_many_failures(out, config.max_failed_share)


def run_fingerprint(config: RecaptionConfig, source: Source) -> dict[str, Any]:
    """Everything that can change what a model is shown or says, or which rows there are."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source": source.fingerprint(),
        "captioner": config.captioner,
        "model": _model_fingerprint(config),
        "dtype": config.engine.dtype,
        "instructions": [asdict(instruction) for instruction in config.parsed_instructions()],
        "chat_format": config.chat_format,
        "object_check": config.object_check,
        "sampling": to_plain(config.sampling),
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


def _beginning_in(planned: Sequence[Shard], rows: tuple[int, int | None]) -> list[Shard]:
    start, stop = rows
    mine = [shard for shard in planned if start <= shard.start and (stop is None or shard.start < stop)]
    if not mine:
        raise UsageError(f"--rows {start}:{'' if stop is None else stop}: no shard of the run begins there")
    return mine


def _refuse_other_gates(config: RecaptionConfig, out: Path) -> None:
    if is_complete(out) and command_of(out) == "recaption":
        config_of = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
        changed = diff(config_of.get("gates", {}), to_plain(config.gates))
        if changed:
            raise UserError(
                f"{out}: is complete with other gates ({'; '.join(changed)}); `llm4gen-data regate {out}` changes "
                "them without captioning again"
            )


def _reopen(config: RecaptionConfig, out: Path, planned: Sequence[Shard], classes: Sequence[str]) -> None:
    """Take rows that failed out of their shards. The manifest goes first: from here on the run is not complete."""
    statuses = {status for name in classes for status in FAILURE_CLASSES[name]}
    committed = [shard for shard in planned if shard.marker.exists()]
    found = [shard for shard in committed if statuses & read_json(shard.marker)["status"].keys()]
    if not found:
        print(f"{out}: no row failed that way ({', '.join(classes)})")
        return
    (out / "manifest.json").unlink(missing_ok=True)
    n = sum(shards.reopen(shard, config, sorted(statuses)) for shard in found)
    print(f"{out}: {n:,} failed rows are done again")


def _caption_pending(
    config: RecaptionConfig, source: Source, out: Path, mine: Sequence[Shard], fingerprint: dict[str, Any]
) -> dict[str, float]:
    """Caption the shards of `mine` that have no marker yet; what the runner measured."""
    pending = []
    for shard in mine:
        if shard.marker.exists():
            shard.journal.unlink(missing_ok=True)  # killed between marker and journal
        else:
            pending.append(shard)
    if not pending:
        return {}
    n_rows = sum(shard.stop - shard.start for shard in mine)
    n_pending = sum(shard.stop - shard.start for shard in pending)
    caption = resolve("runner", config.runner, RUNNERS)
    job = CaptionJob(config, out, fingerprint)
    with tqdm(total=n_rows, initial=n_rows - n_pending, unit="img", desc="recaption") as progress:
        timings: dict[str, float] = caption(job, pending, progress)
    return timings


@contextmanager
def _publishing(out: Path) -> Iterator[None]:
    """One process at a time looks whether all is done, so that the last one always sees that it is."""
    with (out / ".publish").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse_too_many_failures(out: Path, max_failed_share: float) -> None:
    """Downloads that failed earlier do not count: they are the network's, and were reported by `download`."""
    manifest = read_json(out / "manifest.json")
    status = manifest["status"]
    n_images = manifest["n_rows"] - status.get(FAILED_DOWNLOAD, 0)
    n_failed = n_images - status.get(SUCCESS, 0)
    if n_failed > max_failed_share * n_images:
        first = next((e for e in manifest["errors"] if not e.startswith(FAILED_DOWNLOAD)), "")
        raise UserError(
            f"{out}: {n_failed} of {n_images} images have no caption ({first}); "
            "the rows are written, with their reasons in error_message"
        )
