"""Proof that a run is whole: inputs = captions + tombstones, each exactly once, every byte as it was committed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption import shards
from llm4gen_data.recaption.repeats import RepeatedKeys
from llm4gen_data.recaption.status import FAILED_DOWNLOAD, FAILURE_CLASSES, SUCCESS
from llm4gen_data.runs import read_json, sha256_file
from llm4gen_data.sources.source import Source, open_source

N_NAMED = 5
FAILURES = [FAILED_DOWNLOAD, *chain(*FAILURE_CLASSES.values())]


@dataclass
class Verdict:
    """Counts of a checked run; `problems` is empty when it is whole."""

    n_inputs: int = 0
    n_captions: int = 0
    n_tombstones: int = 0
    problems: list[str] = field(default_factory=list)


def verify(out: Path, source: str | None = None) -> Verdict:
    """Check a complete recaption run against its source (where the source is now, if it moved).

    One shard at a time is in memory, beside 8 bytes a row in temporary files. Raises UserError if `out` is no run of
    `recaption`, or one that is not complete, naming the rows that are missing.
    """
    config = _config(out)
    opened = open_source(source or config["source"])
    if not (out / "manifest.json").exists():
        raise UserError(_incomplete(out, opened.n_rows, config["shard_rows"]))
    manifest = read_json(out / "manifest.json")
    verdict = Verdict(n_inputs=opened.n_rows)
    if opened.fingerprint() != manifest["fingerprint"]["source"]:
        verdict.problems.append("the source is not the one that was captioned: its files changed")
    position = 0
    paths = [out / output["path"] for output in manifest["outputs"]]
    with tempfile.TemporaryDirectory() as folder:
        repeats = RepeatedKeys(Path(folder), opened.n_rows)
        for output in manifest["outputs"]:
            start, stop = output["rows"]
            if start > position:
                verdict.problems.append(f"rows {position} to {start} are in no shard")
            elif start < position:
                verdict.problems.append(f"{output['path']}: rows {start} to {position} are in more than one shard")
            position = stop
            path = out / output["path"]
            if not path.is_file():
                verdict.problems.append(f"{path}: missing, with rows {start} to {stop}")
            elif sha256_file(path) != output["sha256"]:
                verdict.problems.append(f"{path}: its bytes are not those that were committed")
            else:
                repeats.add(_check_rows(path, opened, start, stop, verdict))
        if position != opened.n_rows:
            verdict.problems.append(f"rows {position} to {opened.n_rows} are in no shard")
        if twice := repeats.report(path for path in paths if path.is_file()):
            verdict.problems.append(f"{len(twice)} keys occur more than once: {_named(twice)}")
    for stray in sorted(set((out / "data").glob("*.parquet")) - set(paths)):
        verdict.problems.append(f"{stray}: is not in the manifest; whoever reads the folder reads its rows as well")
    for journal in sorted((out / "shards").glob("*.journal")):
        verdict.problems.append(f"{journal}: a journal is left over")
    return verdict


def _config(out: Path) -> dict[str, Any]:
    """The configuration of the recaption run in `out`."""
    if not (out / "fingerprint.json").exists():
        raise UserError(f"{out}: no fingerprint.json: not a run directory")
    command = read_json(out / "fingerprint.json").get("command")
    if command != "recaption":
        raise UserError(f"{out}: is a run of {command!r}, expected one of 'recaption'")
    config: dict[str, Any] = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    return config


def _incomplete(out: Path, n_rows: int, shard_rows: int) -> str:
    planned = shards.plan(n_rows, shard_rows, out)
    missing = [f"{shard.start}:{shard.stop}" for shard in planned if not shard.marker.exists()]
    what = f"{len(missing)} of {len(planned)} shards are missing: rows {_named(missing)}" if missing else "no manifest"
    return f"{out}: not complete: {what}; the same recaption command finishes it"


def _check_rows(path: Path, source: Source, start: int, stop: int, verdict: Verdict) -> pa.Array:
    """Compare a shard with the input rows [start, stop), count it, return its keys."""
    file = open_parquet(path)
    raw = [name for name in file.schema_arrow.names if name == "caption_raw" or name.endswith("_caption_raw")]
    table = file.read(columns=["key", "status", "error_message", *raw]).combine_chunks()
    keys = table["key"].combine_chunks()
    expected = pa.array(source.keys(start, stop), pa.string())
    if not keys.equals(expected):
        missing = expected.filter(pc.invert(pc.is_in(expected, keys))).to_pylist()
        what = f"missing {_named(missing)}" if missing else "their order or number differs"
        verdict.problems.append(f"{path}: holds other rows than inputs {start} to {stop}: {what}")
    succeeded = pc.equal(table["status"], SUCCESS)
    failed = pc.is_in(table["status"], pa.array(FAILURES))
    captioned, blank = succeeded, failed
    for name in raw:
        captioned = pc.and_(captioned, pc.is_valid(table[name]))
        blank = pc.and_(blank, pc.is_null(table[name]))
    tombstone = pc.and_(blank, pc.greater(pc.fill_null(pc.utf8_length(table["error_message"]), 0), 0))
    verdict.n_captions += pc.sum(captioned).as_py() or 0
    verdict.n_tombstones += pc.sum(tombstone).as_py() or 0
    wrong = table.filter(pc.invert(pc.or_(captioned, tombstone)))
    if wrong.num_rows:
        rows = [f"{row['key']} ({row['status']})" for row in wrong.slice(0, N_NAMED + 1).to_pylist()]
        verdict.problems.append(
            f"{path}: {wrong.num_rows} rows whose status does not go with their captions and error: {_named(rows)}"
        )
    return keys


def _named(names: list[str]) -> str:
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
