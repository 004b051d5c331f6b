from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.errors import UserError
from llm4gen_data.sources.laion import RESERVED_NAMES, canonical_columns, open_url_table, read_rows

HERE = Path("laion.parquet")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["URL", "TEXT", "WIDTH", "similarity"], {"URL": "url", "TEXT": "alt_text"}),  # laion2B
        (
            ["id", "url", "text", "width", "height"],
            {"url": "url", "text": "alt_text", "width": "source_width"},
        ),  # COYO
        (
            ["uid", "url", "text", "original_width"],
            {"url": "url", "original_width": "source_original_width"},
        ),  # DataComp
        (["TEXT", "top_caption", "url"], {"TEXT": "alt_text", "top_caption": "top_caption"}),  # LAION-COCO
        (["top_caption", "url"], {"top_caption": "alt_text"}),
        (["image_url", "status", "md5"], {"image_url": "url", "status": "source_status", "md5": "source_md5"}),
        (["url", "URL"], {"url": "url", "URL": "URL"}),
        (["url", "width", "source_width"], {"width": "source_source_width", "source_width": "source_width"}),
    ],
)
def test_columns_are_found_whatever_their_case(names: list[str], expected: dict[str, str]) -> None:
    columns = canonical_columns(names, HERE)
    assert {name: columns[name] for name in expected} == expected


@given(st.lists(st.sampled_from([*sorted(RESERVED_NAMES), "URL", "Text", "source_width", "pwatermark"]), unique=True))
def test_no_column_is_lost_and_no_name_is_taken_twice(names: list[str]) -> None:
    columns = canonical_columns([*names, "IMAGE_URL"], HERE)
    assert set(columns) == {*names, "IMAGE_URL"}
    assert len(set(columns.values())) == len(columns)
    assert {new for new in columns.values() if new in RESERVED_NAMES} <= {"url", "alt_text"}


def test_a_missing_url_column_names_file_columns_and_aliases() -> None:
    with pytest.raises(UserError, match=r"laion.parquet: no URL column; found TEXT, WIDTH; expected one named url, "):
        canonical_columns(["TEXT", "WIDTH"], HERE)


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "laion.parquet"
    path.write_bytes(b"URL,TEXT\n")
    with pytest.raises(UserError, match=r"laion.parquet: not a Parquet file"):
        open_url_table(str(path))


@pytest.mark.parametrize("make", ["missing", "empty folder", "no rows", "wrong type"])
def test_unusable_sources_are_one_clear_line(tmp_path: Path, make: str) -> None:
    path = tmp_path / "laion.parquet"
    if make == "empty folder":
        path.mkdir()
    elif make == "no rows":
        pq.write_table(pa.table({"url": pa.array([], pa.string())}), path)
    elif make == "wrong type":
        pq.write_table(pa.table({"url": [1, 2]}), path)
    with pytest.raises(UserError, match=r"laion.parquet"):
        open_url_table(str(path))


def write_parts(folder: Path, sizes: list[int], row_group_size: int) -> Path:
    folder.mkdir()
    start = 0
    for part, size in enumerate(sizes):
        rows = list(range(start, start + size))
        columns = {
            "URL" if part % 2 else "url": [f"https://example.org/{row}" for row in rows],
            "TEXT": pa.array([f"text {row}" for row in rows]).dictionary_encode(),
            "row": rows,
        }
        if part == 0:
            columns["only_here"] = rows
        pq.write_table(pa.table(columns), folder / f"part-{part:05d}.parquet", row_group_size=row_group_size)
        start += size
    return folder


def test_a_folder_is_one_table_with_the_columns_of_all_files(tmp_path: Path) -> None:
    table = open_url_table(str(write_parts(tmp_path / "laion", [3, 4], row_group_size=2)))
    rows = pa.concat_tables(read_rows(table, 0, 5))
    assert table.n_rows == rows.num_rows == 7
    assert rows.column_names == ["url", "alt_text", "row", "only_here"]
    assert rows["alt_text"].to_pylist() == [f"text {row}" for row in range(7)]
    assert rows["only_here"].to_pylist() == [0, 1, 2, None, None, None, None]
    assert rows.schema.field("alt_text").type == pa.string()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any),
    row_group_size=st.integers(1, 6),
    chunk_rows=st.integers(1, 8),
    data=st.data(),
)
def test_reading_on_from_any_chunk_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    row_group_size: int,
    chunk_rows: int,
    data: st.DataObject,
) -> None:
    table = open_url_table(str(write_parts(tmp_path_factory.mktemp("laion") / "parts", sizes, row_group_size)))
    first_chunk = data.draw(st.integers(0, (table.n_rows - 1) // chunk_rows))
    chunks = list(read_rows(table, first_chunk * chunk_rows, chunk_rows))
    assert [row for chunk in chunks for row in chunk["row"].to_pylist()] == list(
        range(first_chunk * chunk_rows, table.n_rows)
    )
    assert all(chunk.num_rows == chunk_rows for chunk in chunks[:-1])


def test_the_fingerprint_changes_with_the_content_and_not_with_the_folder(tmp_path: Path) -> None:
    first = open_url_table(str(write_parts(tmp_path / "a", [5], 2))).fingerprint()
    assert open_url_table(str(write_parts(tmp_path / "b", [5], 2))).fingerprint() == first
    assert open_url_table(str(write_parts(tmp_path / "c", [5], 3))).fingerprint() != first
    pq.write_table(pa.table({"url": ["https://example.org/other"] * 5}), tmp_path / "b" / "part-00000.parquet")
    assert open_url_table(str(tmp_path / "b")).fingerprint() != first
