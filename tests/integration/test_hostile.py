"""`llm4gen-data recaption` over images, tables and texts from strangers: every one is a row, nothing stops the run."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.parquet import IMAGE
from tests.commands import assert_one_line, run
from tests.factories import encode, picture
from tests.hostile import bombs, mutations

CONTROL = "a\x00b\x1b[2J\r\n\u2028\u202e" + "\N{PILE OF POO}" * 20


def recaption(source: Path, out: Path) -> list[dict[str, Any]]:
    """The rows of a finished run, which `verify` has found whole."""
    options = ("--captioner", "dummy", "--set", "max_failed_share=1.0", "--set", "shard_rows=64")
    result = run("llm4gen-data", "recaption", source, "--out", out, *options, timeout_s=120)
    assert result.returncode == 0, result.stderr
    checked = run("llm4gen-data", "verify", out, timeout_s=60)
    assert checked.returncode == 0, checked.stderr
    tables = [pq.read_table(shard) for shard in sorted((out / "data").glob("*.parquet"))]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def test_every_hostile_image_is_a_row_with_a_status(tmp_path: Path) -> None:
    images = [data for _, data in mutations(150, seed=5)] + list(bombs().values()) + [encode(picture(1))]
    n_rows = len(images)
    table = pa.table(
        {
            "key": pa.array([f"{i:04d}" for i in range(n_rows)]),
            "image": pa.array([{"bytes": data, "path": "../../etc/passwd"} for data in images], IMAGE),
            "alt_text": pa.array([CONTROL] * n_rows),
        }
    )
    pq.write_table(table, tmp_path / "images.parquet")
    rows = recaption(tmp_path / "images.parquet", tmp_path / "out")
    assert [row["key"] for row in rows] == table["key"].to_pylist()
    assert {row["status"] for row in rows} == {"success", "failed_image"}
    assert all((row["caption"] is None) == (row["status"] != "success") for row in rows)
    assert all(row["error_message"] for row in rows if row["status"] != "success")
    assert {row["alt_text"] for row in rows} == {CONTROL}
    assert rows[-1]["status"] == "success"


def test_columns_of_the_wrong_type_and_texts_that_are_no_text_are_rows(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff\xfe", b"ok", None], pa.binary()).buffers())
    columns = {
        "image": pa.array([encode(picture(0)), None, b""], pa.large_binary()),
        "key": pa.array([1.5, None, 3.0]),
        "url": broken,
        "caption": pa.array([["one", "two"], None, []], pa.list_(pa.string())),
        "width": pa.array(["wide", None, "9"]),
        "label": pa.array(["x", "y", None]).dictionary_encode(),
        "when": pa.array([2**62, 0, None], pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), tmp_path / "odd.parquet")
    rows = recaption(tmp_path / "odd.parquet", tmp_path / "out")
    assert [row["key"] for row in rows] == ["1.5", "000000001", "3.0"]
    assert [row["status"] for row in rows] == ["success", "failed_download", "failed_image"]
    assert [row["url"] for row in rows] == ["\ufffd\ufffd", "ok", None]
    assert [row["alt_text"] for row in rows] == ["one", None, None]
    assert [row["label"] for row in rows] == ["x", "y", None]


def test_a_folder_with_names_and_files_from_strangers(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, data in (("a\nb\x1b[2J.png", encode(picture(1))), ("empty.jpg", b""), ("page.gif", b"<html>")):
        (folder / name).write_bytes(data)
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).write_bytes(encode(picture(2)))
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "empty.jpg", "text": "lone \\ud800 surrogate"}\n')
    rows = recaption(folder, tmp_path / "out")
    found = {row["key"]: row["status"] for row in rows}
    images = {"a\nb\x1b[2J.png": "success", "\\udcff.png": "success"}
    assert found == images | {"empty.jpg": "failed_image", "page.gif": "failed_image"}
    assert all("surrogate" in row["alt_text"] for row in rows if row["key"] == "empty.jpg")


def test_an_unreadable_source_is_one_line(tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w") as archive:
        (tmp_path / "a.png").write_bytes(encode(picture(1)))
        archive.add(tmp_path / "a.png", "a.png")
    tar.write_bytes(tar.read_bytes()[:700])
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    for source, reason in ((tar, "a.tar: not a readable tar file"), (tmp_path / "b.parquet", "not a Parquet file")):
        result = run("llm4gen-data", "recaption", source, "--out", tmp_path / "out", "--captioner", "dummy")
        assert_one_line(result, 1, reason)
        assert not (tmp_path / "out").exists()
