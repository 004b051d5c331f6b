from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from llm4gen_data.download.filters import RemovalList, RowFilter
from llm4gen_data.download.shards import LOST_ROW, Stopped, finish_shard, read_marker, shard_path
from llm4gen_data.download.staging import fetched_shards, stage, write_request
from llm4gen_data.parquet import IMAGE
from llm4gen_data.runs import sha256_file
from llm4gen_data.sources.laion import open_url_table


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Ten rows staged as shards of four; row 5 is refused. img2dataset has finished shards 1 and 2, not shard 0."""
    (tmp_path / "shards").mkdir()
    urls = [f"https://example.org/{row}" if row != 5 else "http://localhost/5" for row in range(10)]
    pq.write_table(pa.table({"URL": urls, "TEXT": ["text"] * 10, "width": range(10)}), tmp_path / "laion.parquet")
    folder = tmp_path / "work"
    assert stage(open_url_table(str(tmp_path / "laion.parquet")), [1, 2], folder, 4, False, RowFilter()) == [4, 2]
    write_request(folder, [1, 2], False, {})
    write_fetched(folder, 0, ["000000007", "000000005", "000000004"])  # out of order, row 6 dropped
    write_fetched(folder, 1, ["000000009", "000000008"])
    return folder


def write_fetched(work: Path, number: int, keys: list[str]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "row_key": key,
            "status": "success" if key != "000000005" else "failed_to_download",
            "error_message": None if key != "000000005" else "refused",
            "sha256": hashlib.sha256(png(int(key))).hexdigest(),
            "exif": "{}",
            "jpg": png(int(key)) if key != "000000005" else None,
        }
        for key in keys
    ]
    pq.write_table(pa.Table.from_pylist(rows), work / "fetched" / f"{number:05d}.parquet")
    (work / "fetched" / f"{number:05d}_stats.json").write_text("{}")


def test_a_shard_has_every_row_once_in_input_order(work: Path) -> None:
    out = work.parent
    first, second = fetched_shards(work, set())
    marker = finish_shard(out, first, 4, 1024, RemovalList(), threading.Event())
    table = pq.read_table(shard_path(out, 1))
    assert table["key"].to_pylist() == ["000000004", "000000005", "000000006", "000000007"]
    assert table["download_status"].to_pylist() == ["success", "refused", "failed_to_download", "success"]
    assert table["download_error"].to_pylist() == [None, "private host localhost", LOST_ROW, None]
    assert [image and image["bytes"] for image in table["image"].to_pylist()] == [png(4), None, None, png(7)]
    assert table["source_width"].to_pylist() == [4, 5, 6, 7]
    assert table.schema.field("image").type == IMAGE
    assert marker == read_marker(out, 1)
    assert (marker.rows, marker.n_rows) == ((4, 8), 4)
    assert marker.status == {"success": 2, "refused": 1, "failed_to_download": 1}
    assert marker.errors == {"private host localhost": 1, LOST_ROW: 1}
    assert marker.sha256 == sha256_file(shard_path(out, 1))
    assert finish_shard(out, second, 8, 1024, RemovalList(), threading.Event()).status == {"success": 2}


def test_the_same_shard_again_has_the_same_bytes(work: Path) -> None:
    source = fetched_shards(work, set())[0]
    first = finish_shard(work.parent, source, 4, 1024, RemovalList(), threading.Event())
    assert finish_shard(work.parent, source, 4, 1024, RemovalList(), threading.Event()) == first


def test_only_whole_shards_count_as_fetched(work: Path) -> None:
    assert [fetched.shard for fetched in fetched_shards(work, {1})] == [2]
    statistics, data = work / "fetched" / "00000_stats.json", work / "fetched" / "00000.parquet"
    statistics.write_text('{"count": ')
    assert [fetched.shard for fetched in fetched_shards(work, set())] == [2]
    statistics.write_text("{}")
    data.write_bytes(data.read_bytes()[:-20])
    assert [fetched.shard for fetched in fetched_shards(work, set())] == [2]
    (work / "request.json").unlink()
    assert fetched_shards(work, set()) == []


def test_a_stop_leaves_no_marker(work: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        finish_shard(work.parent, fetched_shards(work, set())[0], 4, 1024, RemovalList(), stop)
    assert list((work.parent / "shards").iterdir()) == []


def test_a_marker_without_its_shard_does_not_count(work: Path) -> None:
    finish_shard(work.parent, fetched_shards(work, set())[0], 4, 1024, RemovalList(), threading.Event())
    shard_path(work.parent, 1).unlink()
    assert read_marker(work.parent, 1) is None
