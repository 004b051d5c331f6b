import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.config import load_config
from llm4gen_data.download.filters import (
    Filters,
    RemovalList,
    RowFilter,
    fingerprint,
    read_removal_list,
    row_filter,
    same_url,
)
from llm4gen_data.download.run import DownloadConfig
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.sources.laion import open_url_table, read_rows

A_SHA256 = hashlib.sha256(b"a").hexdigest()
A_MD5 = hashlib.md5(b"a").hexdigest()


def reasons(tmp_path: Path, filters: Filters, **columns: Any) -> list[str | None]:
    n_rows = len(next(iter(columns.values())))
    path = tmp_path / "laion.parquet"
    pq.write_table(pa.table({"URL": [f"https://example.org/{i}.jpg" for i in range(n_rows)], **columns}), path)
    table = open_url_table(str(path))
    return [reason for rows in read_rows(table, 0, 10) for reason in row_filter(filters, table).reasons(rows)]


def test_limits_are_inclusive_and_what_has_no_value_does_not_pass(tmp_path: Path) -> None:
    found = reasons(
        tmp_path, Filters(min_width=100, max_punsafe=0.5), WIDTH=[100, 99, None, 500], punsafe=[0.5, 0.9, 0.1, 0.51]
    )
    assert found == [None, "width below 100", "no width", "punsafe above 0.5"]


@pytest.mark.parametrize(
    ("column", "filters"),
    [
        ("HEIGHT", Filters(min_height=2)),
        ("original_height", Filters(min_height=2)),  # DataComp; one of our names, so it gets a prefix
        ("AESTHETIC_SCORE", Filters(min_aesthetic=2)),
        ("aesthetic_score_laion_v2", Filters(min_aesthetic=2)),  # COYO
        ("watermark_score", Filters(max_pwatermark=1)),
        ("pwatermark", Filters(max_pwatermark=1)),
        ("clip_similarity_vitb32", Filters(min_similarity=2)),
        ("clip_l14_similarity_score", Filters(min_similarity=2)),
    ],
)
def test_each_publisher_s_name_is_found(tmp_path: Path, column: str, filters: Filters) -> None:
    found = reasons(tmp_path, filters, **{column: [1.0, 2.0]})
    assert [reason is None for reason in found] == [
        column in ("watermark_score", "pwatermark"),
        column not in ("watermark_score", "pwatermark"),
    ]


def test_numbers_in_text_count_and_other_text_is_no_value(tmp_path: Path) -> None:
    found = reasons(tmp_path, Filters(min_width=100), width=["640", "wide", "nan", "1e2"])
    assert found == [None, "no width", "no width", None]


def test_a_limit_without_its_column_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"max_punsafe = 0.5: the source has no column punsafe or .*; found url, alt_text, WIDTH_, width",
    ):
        reasons(tmp_path, Filters(max_punsafe=0.5), WIDTH_=[1], width=[1])
    with pytest.raises(UserError, match=r"min_width = 9: column 'WIDTH' has type list"):
        reasons(tmp_path, Filters(min_width=9), WIDTH=[[1]])
    with pytest.raises(UsageError, match=r"filters.min_width"):
        load_config(DownloadConfig, None, ["filters.min_width=0"], {"source": "a", "out": "b"})


def test_a_removal_list_takes_urls_and_hashes_from_text(tmp_path: Path) -> None:
    path = tmp_path / "removed.txt"
    path.write_text(f"# taken back\n\nHTTP://EXAMPLE.org/1.jpg#top\n{A_SHA256.upper()}\n{A_MD5}\n")
    removal = read_removal_list(str(path))
    assert removal == RemovalList(frozenset({"example.org/1.jpg"}), frozenset({A_SHA256}), frozenset({A_MD5}))
    assert reasons(tmp_path, Filters(removal_list=str(path)), md5=["0" * 32, "1" * 32, A_MD5]) == [
        None,
        "on the removal list (url)",
        "on the removal list (md5)",
    ]
    assert removal.names_bytes(b"a") == "on the removal list (sha256)"
    assert removal.names_bytes(b"b") is None


def test_a_removal_list_takes_columns_from_parquet(tmp_path: Path) -> None:
    path = tmp_path / "removed.parquet"
    pq.write_table(pa.table({"URL": ["https://a.b/c d", None], "sha256": [None, A_SHA256]}), path)
    assert read_removal_list(str(path)) == RemovalList(frozenset({"a.b/c%20d"}), frozenset({A_SHA256}))
    pq.write_table(pa.table({"name": ["x"]}), path)
    with pytest.raises(UserError, match="missing a column of URLs, sha256 or md5; found name"):
        read_removal_list(str(path))


def test_a_removal_list_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "removed.txt"
    path.write_text("https://a.b/c\nexample.org\n")
    with pytest.raises(UserError, match=r"removed.txt: line 2: 'example.org' is neither a URL nor"):
        read_removal_list(str(path))
    path.write_text("# nothing yet\n")
    with pytest.raises(UserError, match="without an entry"):
        read_removal_list(str(path))
    with pytest.raises(UserError, match="no such file"):
        read_removal_list(str(tmp_path / "nowhere.txt"))


def test_spellings_of_a_url_are_one() -> None:
    spellings = ("http://Exämple.org/ä b", "https://xn--exmple-cua.org/%C3%A4%20b#f", " http://exämple.ORG/ä b ")
    assert {same_url(url) for url in spellings} == {"xn--exmple-cua.org/%C3%A4%20b"}
    assert same_url("http://a.b") == same_url("http://a.b/")
    assert same_url("http://a.b/?x=1") != same_url("http://a.b/?x=2")
    assert same_url("http://[") == "http://["


def test_the_fingerprint_says_what_was_asked_for_and_nothing_else() -> None:
    assert fingerprint(Filters(), RowFilter()) == {}
    listed = RowFilter(removal=RemovalList(urls=frozenset({"a"})))
    assert fingerprint(Filters(min_width=5, max_punsafe=0.1), listed) == {
        "min_width": 5,
        "max_punsafe": 0.1,
        "removal_list_sha256": hashlib.sha256(b"a").hexdigest(),
    }
