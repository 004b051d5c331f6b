"""Proof that a run is whole: inputs = captions + tombstones, each exactly once, every byte as it was committed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.runs import read_json, sha256_file
from llm4gen_data.sources.source import Source, open_source

N_NAMED = 5


@dataclass
class Verdict:
    """Counts of a checked run; `problems` is empty when it is whole."""

    n_inputs: int = 0
    n_captions: int = 0
    n_tombstones: int = 0
    problems: list[str] = field(default_factory=list)


def verify(out: Path, source: str | None = None) -> Verdict:
    """Check a complete recaption run against its source (where the source is now, if it moved).

    Raises UserError if `out` is no complete run of `recaption`.
    """
    if not (out / "manifest.json").exists():
        raise UserError(f"{out}: no manifest.json: not a run, or one that is not complete; recaption finishes it")
    manifest = read_json(out / "manifest.json")
    if manifest.get("command") != "recaption":
        raise UserError(f"{out}: is a run of {manifest.get('command')!r}, expected one of 'recaption'")
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    opened = open_source(source or config["source"])
    verdict = Verdict(n_inputs=opened.n_rows)
    if opened.fingerprint() != manifest["fingerprint"]["source"]:
        verdict.problems.append("the source is not the one that was captioned: its files changed")
    seen: Counter[str] = Counter()
    position = 0
    for output in manifest["outputs"]:
        path = out / output["path"]
        start, stop = output["rows"]
        if start != position:
            verdict.problems.append(f"rows {position} to {start} are in no shard")
        position = stop
        if not path.is_file():
            verdict.problems.append(f"{path}: missing")
            continue
        if sha256_file(path) != output["sha256"]:
            verdict.problems.append(f"{path}: its bytes are not those that were committed")
            continue
        _check_rows(path, opened, start, stop, seen, verdict)
    if position != opened.n_rows:
        verdict.problems.append(f"rows {position} to {opened.n_rows} are in no shard")
    twice = [key for key, n in seen.items() if n > 1]
    if twice:
        verdict.problems.append(f"{len(twice)} keys occur more than once: {_named(twice)}")
    for journal in sorted((out / "shards").glob("*.journal")):
        verdict.problems.append(f"{journal}: a journal is left over")
    return verdict


def _check_rows(path: Path, source: Source, start: int, stop: int, seen: Counter[str], verdict: Verdict) -> None:
    table = open_parquet(path).read(columns=["key", "status", "caption_raw", "error_message"])
    keys = table.column("key").to_pylist()
    seen.update(keys)
    expected = source.keys(start, stop)
    if keys != expected:
        present = set(keys)
        missing = [key for key in expected if key not in present]
        what = f"missing {_named(missing)}" if missing else "the order of rows differs"
        verdict.problems.append(f"{path}: holds other rows than inputs {start} to {stop}: {what}")
    for key, status, caption, error in zip(keys, *(table.column(i).to_pylist() for i in (1, 2, 3)), strict=True):
        if status == "success" and caption is not None:
            verdict.n_captions += 1
        elif status != "success" and caption is None and error:
            verdict.n_tombstones += 1
        else:
            verdict.problems.append(f"{path}: {key}: status {status!r} does not go with its caption and error")


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - N_NAMED} more" if len(keys) > N_NAMED else ""
    return ", ".join(keys[:N_NAMED]) + more
