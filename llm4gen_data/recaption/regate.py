"""New verdicts for a finished run, without captioning again: `llm4gen-data regate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from llm4gen_data.config import load_config, to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.duplicates import repeated_captions
from llm4gen_data.recaption.gates import Gates, apply_gates, outcome_counts
from llm4gen_data.recaption.publish import publish, run_config, summary
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.recaption.verdicts import check_gates
from llm4gen_data.runs import open_run, read_json


def regate(run_directory: Path, gates: Gates, *, dry_run: bool = False) -> None:
    """Judge every caption of a run anew by `gates`, and print what changes; with `dry_run`, only print.

    Raw columns stay as they are. The manifest goes first and comes back last; a killed regate goes on when it is
    started again. Raises UserError if the run is not complete, or another process works in it.
    """
    planned = _finished_shards(run_directory)
    config = replace(run_config(run_directory), gates=gates)
    check_gates(gates, store_images=config.store_images)
    before = _verdicts(read_json(shard.marker) for shard in planned)
    if dry_run:
        repeated = frozenset(repeated_captions([shard.parquet for shard in planned], gates))
        counts = (outcome_counts(apply_gates(_texts(shard), gates, repeated)) for shard in planned)
        print(f"{run_directory}: would change\n{_comparison(before, _verdicts(counts))}")
        if gates.similarity_model is not None:
            print("similarities that are not there yet are not computed in a dry run")
        return
    fingerprint = read_json(run_directory / "fingerprint.json")
    manifest = run_directory / "manifest.json"
    timings = read_json(manifest)["timings"] if manifest.exists() else {}
    with open_run(run_directory, "recaption", to_plain(config), fingerprint):
        manifest.unlink(missing_ok=True)
        del fingerprint["command"]
        publish(run_directory, planned, fingerprint, timings, recheck=True)
    print(_comparison(before, _verdicts([read_json(manifest)])))
    print(summary(run_directory))


def new_gates(run_directory: Path, config_file: Path | None, sets: Sequence[str]) -> Gates:
    """The gates of a run with the changes of a configuration file and of `key=value` strings.

    Raises UsageError if anything but `gates` would change.
    """
    _finished_shards(run_directory)
    old = run_config(run_directory)
    new = load_config(RecaptionConfig, config_file, sets, defaults=to_plain(old))
    changed = [name for name in to_plain(new) if name != "gates" and getattr(new, name) != getattr(old, name)]
    if changed:
        raise UsageError(f"regate changes gates only; {', '.join(changed)} of {run_directory} cannot be changed")
    return new.gates


def _finished_shards(run_directory: Path) -> list[Shard]:
    """The shards of a run of `recaption`, by their markers. Raises UserError if some are missing."""
    fingerprint = run_directory / "fingerprint.json"
    if not fingerprint.exists() or read_json(fingerprint).get("command") != "recaption":
        raise UserError(f"{run_directory}: is not a run of `llm4gen-data recaption`")
    n_rows = read_json(fingerprint)["source"].get("n_rows")
    folder = run_directory / "shards"
    found = []
    for marker in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        start, stop = read_json(marker)["rows"]
        found.append(Shard(int(marker.stem), start, stop, folder))
    if n_rows not in (None, sum(shard.stop - shard.start for shard in found)):
        raise UserError(f"{run_directory}: is not complete; the recaption command that started it finishes it")
    return found


def _texts(shard: Shard) -> pa.Table:
    """A shard without its images."""
    file = open_parquet(shard.parquet)
    return file.read(columns=[name for name in file.schema_arrow.names if name != "image"])


def _verdicts(counts: Any) -> Counter[str]:
    """Rows kept, and rows by reason, from markers or a manifest."""
    total: Counter[str] = Counter()
    for one in counts:
        total["kept"] += one["kept"]
        total.update(one["reject_reasons"])
    return total


def _comparison(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    names = ["kept", *sorted((before.keys() | after.keys()) - {"kept"})]
    rows = [(name, before.get(name, 0), after.get(name, 0)) for name in names]
    return "\n".join(
        f"  {name:20s} {old:>12,} -> {new:>12,}{f'  ({new - old:+,})' if new != old else ''}"
        for name, old, new in rows
    )
