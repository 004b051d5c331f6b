"""The files between our run and img2dataset: the rows it is to fetch, and the shards it has fetched."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.download.filters import RowFilter
from llm4gen_data.download.hosts import refusal, wire_url
from llm4gen_data.sources.laion import UrlTable, read_rows

MIN_KEY_DIGITS = 9
# Rows that never reach the network: their `download_status`.
REFUSED = "refused"
FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class FetchedShard:
    """A shard that img2dataset has finished: our input rows, its input (keys, URLs), its output."""

    shard: int
    staged: Path
    urls: Path
    fetched: Path


def stage(
    table: UrlTable,
    shards: Sequence[int],
    work: Path,
    shard_rows: int,
    allow_private_hosts: bool,
    row_filter: RowFilter,
) -> list[int]:
    """Write the input rows of `shards` (ascending) below `work` and return how many rows each has.

    `staged/` holds the rows for us, `urls/` what img2dataset reads, one file a shard, so that its shard i is
    `shards[i]`: `row_key`, `fetch_url` (null where nothing is requested), and for those `status` and `reason`.
    """
    for folder in ("staged", "urls", "fetched"):
        (work / folder).mkdir(parents=True)
    wanted, n_rows = set(shards), []
    for shard, rows in enumerate(read_rows(table, shards[0] * shard_rows, shard_rows), start=shards[0]):
        if shard not in wanted:
            continue
        first_row = shard * shard_rows
        statuses, reasons, fetch_urls = [], row_filter.reasons(rows), []
        for i, url in enumerate(rows["url"].to_pylist()):
            status = FILTERED if reasons[i] else None
            if status is None:
                reasons[i] = refusal(url, allow_private_hosts=allow_private_hosts)
                status = REFUSED if reasons[i] else None
            statuses.append(status)
            fetch_urls.append(wire_url(url) if status is None else None)
        keys = [f"{row:0{MIN_KEY_DIGITS}d}" for row in range(first_row, first_row + rows.num_rows)]
        urls = pa.table(
            {
                "row_key": pa.array(keys, pa.string()),
                "fetch_url": pa.array(fetch_urls, pa.string()),
                "status": pa.array(statuses, pa.string()),
                "reason": pa.array(reasons, pa.string()),
            }
        )
        pq.write_table(rows, work / "staged" / _file_name(shard))
        pq.write_table(urls, work / "urls" / _file_name(shard))
        n_rows.append(rows.num_rows)
        if shard == shards[-1]:
            break
    return n_rows


def write_request(work: Path, shards: Sequence[int], allow_private_hosts: bool, arguments: dict[str, Any]) -> Path:
    """Write what fetch.py reads: img2dataset's arguments with the folders filled in, and ours."""
    request = {
        "shards": list(shards),
        "ticks": str((work / "ticks").resolve()),
        "allow_private_hosts": allow_private_hosts,
        "arguments": arguments
        | {"url_list": str((work / "urls").resolve()), "output_folder": str((work / "fetched").resolve())},
    }
    (work / "ticks").touch()
    path = work / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path


def fetched_shards(work: Path, known: Set[int]) -> list[FetchedShard]:
    """The shards below `work` that img2dataset has finished, without those `known`.

    Its statistics file, written after the shard was closed, is the sign; a file cut off by a kill is passed over.
    """
    try:
        shards = json.loads((work / "request.json").read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError):
        return []
    found = []
    for statistics in sorted((work / "fetched").glob("*_stats.json")):
        number = statistics.name.removesuffix("_stats.json")
        shard = shards[int(number)]
        if shard in known:
            continue
        fetched = FetchedShard(
            shard,
            work / "staged" / _file_name(shard),
            work / "urls" / _file_name(shard),
            work / "fetched" / f"{number}.parquet",
        )
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            json.loads(statistics.read_text(encoding="utf-8"))
            for path in (fetched.staged, fetched.urls, fetched.fetched):
                pq.read_metadata(path)
            found.append(fetched)
    return found


def _file_name(shard: int) -> str:
    # Wide enough that img2dataset's order by name is the order by number.
    return f"{shard:08d}.parquet"
