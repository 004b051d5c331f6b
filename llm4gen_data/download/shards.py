"""From what img2dataset left of a shard to ours: every input row once, in input order, with its outcome."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.download.filters import RemovalList
from llm4gen_data.download.images import fit_image
from llm4gen_data.download.staging import FILTERED, FetchedShard
from llm4gen_data.parquet import IMAGE, write_shard
from llm4gen_data.runs import read_json, sha256_file, write_json
from llm4gen_data.sources.images import ImageError

SUCCESS = "success"
FAILED_TO_DOWNLOAD = "failed_to_download"
FAILED_TO_RESIZE = "failed_to_resize"

OUTCOME_SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),
        ("exif", pa.string()),
        pa.field("download_status", pa.string(), nullable=False),
        ("download_error", pa.string()),
    ]
)
LOST_ROW = "img2dataset lost this row; its log says why"
MAX_ERROR_CHARACTERS = 300
# Tables are built in pieces of so many rows: an Arrow binary array holds at most 2 GiB.
PIECE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Marker:
    """What stands beside a finished shard: the input rows [start, stop) that it holds and how they fared."""

    rows: tuple[int, int]
    status: dict[str, int]
    errors: dict[str, int]
    sha256: str

    @property
    def n_rows(self) -> int:
        """Rows of the shard."""
        return self.rows[1] - self.rows[0]


class Stopped(Exception):
    """The run is being stopped; the shard is left as it was."""


def shard_path(out: Path, shard: int) -> Path:
    """Where a finished shard lies."""
    return out / "shards" / f"{shard:05d}.parquet"


def read_marker(out: Path, shard: int) -> Marker | None:
    """The marker of a finished shard; None while the shard is not finished (or its file is gone)."""
    path = shard_path(out, shard)
    marker = path.with_suffix(".json")
    if not marker.exists() or not path.exists():
        return None
    fields = read_json(marker)
    return Marker(**fields | {"rows": tuple(fields["rows"])})


def finish_shard(
    out: Path, source: FetchedShard, first_row: int, image_size: int, removal: RemovalList, stop: threading.Event
) -> Marker:
    """Join the staged input rows with what img2dataset made of them; write shard and marker durably.

    Rows that img2dataset dropped are there as failed rows, images whose bytes `removal` names as filtered ones
    without their bytes. Raises Stopped as soon as `stop` is set.
    """
    rows, urls = pq.read_table(source.staged), pq.read_table(source.urls)
    outcomes = read_outcomes(source.fetched, image_size, removal, stop)
    pieces = []
    for start in range(0, rows.num_rows, PIECE_ROWS):
        piece, keyed = rows.slice(start, PIECE_ROWS), urls.slice(start, PIECE_ROWS)
        records = [
            failure(row["status"], row["reason"])
            if row["status"]
            else outcomes.get(row["row_key"]) or failure(FAILED_TO_DOWNLOAD, LOST_ROW)
            for row in keyed.to_pylist()
        ]
        outcome = pa.Table.from_pylist(records, schema=OUTCOME_SCHEMA)
        columns = {"key": keyed["row_key"], "url": piece["url"], "alt_text": piece["alt_text"]}
        columns |= {name: outcome[name] for name in OUTCOME_SCHEMA.names}
        columns |= {name: piece[name] for name in piece.column_names if name not in columns}
        pieces.append(pa.table(columns))
    table = pa.concat_tables(pieces)
    path = shard_path(out, source.shard)
    write_shard(path, table)
    statuses = Counter(table["download_status"].to_pylist())
    marker = Marker(
        rows=(first_row, first_row + table.num_rows),
        status=dict(statuses.most_common()),
        errors=dict(Counter(error for error in table["download_error"].to_pylist() if error).most_common()),
        sha256=sha256_file(path),
    )
    write_json(path.with_suffix(".json"), asdict(marker))
    return marker


def read_outcomes(
    fetched: Path, image_size: int, removal: RemovalList, stop: threading.Event
) -> dict[str, dict[str, Any]]:
    """img2dataset's rows by our key, images checked and fitted; raw bytes are held for 100 rows at a time only."""
    outcomes: dict[str, dict[str, Any]] = {}
    with pq.ParquetFile(fetched) as parquet:
        columns = ["row_key", "status", "error_message", "sha256", "exif", "jpg"]
        for group in range(parquet.num_row_groups):
            for row in parquet.read_row_group(group, columns=columns).to_pylist():
                if stop.is_set():
                    raise Stopped
                outcomes[row["row_key"]] = _outcome(row, image_size, removal)
    return outcomes


def failure(status: str, message: str) -> dict[str, Any]:
    """The outcome of a row without an image."""
    shortened = " ".join(message.split())[:MAX_ERROR_CHARACTERS]
    return dict.fromkeys(OUTCOME_SCHEMA.names) | {"download_status": status, "download_error": shortened}


def _outcome(row: dict[str, Any], image_size: int, removal: RemovalList) -> dict[str, Any]:
    if row["status"] != SUCCESS or row["jpg"] is None:
        return failure(row["status"] or FAILED_TO_DOWNLOAD, row["error_message"] or LOST_ROW)
    named = removal.names_bytes(row["jpg"])
    if named is not None:
        return failure(FILTERED, named)
    try:
        fitted = fit_image(row["jpg"], image_size)
    except ImageError as error:
        return failure(FAILED_TO_RESIZE, str(error))
    return {
        "image": {"bytes": fitted.data, "path": None},
        "width": fitted.width,
        "height": fitted.height,
        "original_width": fitted.original_width,
        "original_height": fitted.original_height,
        "sha256": row["sha256"],
        "exif": row["exif"] if row["exif"] != "{}" else None,
        "download_status": SUCCESS,
        "download_error": None,
    }
