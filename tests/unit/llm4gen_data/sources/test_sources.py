import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.sources.source import Source, absolute, open_source
from tests.factories import encode, image_folder, image_parquet, image_tar, picture


def folder(path: Path) -> Path:
    return image_folder(path / "images", 7)


def parquet(path: Path) -> Path:
    return image_parquet(path / "a.parquet", 120).parent


def two_parquets(path: Path) -> Path:
    image_parquet(path / "p" / "a.parquet", 60)
    return image_parquet(path / "p" / "b.parquet", 70).parent


def tars(path: Path) -> Path:
    image_tar(path / "t" / "00000.tar", 5)
    return image_tar(path / "t" / "00001.tar", 4).parent


@pytest.mark.parametrize("make", [folder, parquet, two_parquets, tars])
def test_any_range_reads_as_the_whole_does(tmp_path: Path, make: object) -> None:
    source: Source = open_source(str(make(tmp_path)))  # type: ignore[operator]
    rows = list(source.read(0, source.n_rows))
    assert len(rows) == source.n_rows
    assert [row.key for row in rows] == source.keys(0, source.n_rows)
    for start, stop in ((0, 1), (3, 7), (source.n_rows - 1, source.n_rows), (45, 65), (49, 51)):
        if stop <= source.n_rows:
            assert list(source.read(start, stop)) == rows[start:stop]
            assert source.keys(start, stop) == [row.key for row in rows[start:stop]]
    assert rows[3].image == encode(picture(3))


@pytest.mark.parametrize("make", [folder, parquet, tars])
def test_the_fingerprint_follows_the_files_not_their_place(tmp_path: Path, make: object) -> None:
    where: Path = make(tmp_path)  # type: ignore[operator]
    before = open_source(str(where)).fingerprint()
    moved = shutil.copytree(where, tmp_path / "moved")
    assert open_source(str(moved)).fingerprint() == before
    victim = sorted(path for path in moved.rglob("*") if path.is_file())[0]
    victim.unlink()
    if any(moved.rglob("*.*")):
        assert open_source(str(moved)).fingerprint() != before


def test_folder_takes_alt_texts_from_metadata_or_sidecars(tmp_path: Path) -> None:
    where = image_folder(tmp_path / "a", 3)
    (where / "00001.txt").write_text("from a sidecar\n")
    assert [row.alt_text for row in open_source(str(where)).read(0, 3)] == [None, "from a sidecar", None]
    (where / "metadata.jsonl").write_text(json.dumps({"file_name": "00000.png", "text": "from metadata"}) + "\n")
    assert [row.alt_text for row in open_source(str(where)).read(0, 3)] == ["from metadata", "from a sidecar", None]


def test_img2dataset_parquet_keeps_failed_rows_and_its_status(tmp_path: Path) -> None:
    table = pa.table(
        {
            "url": ["http://a", "http://b"],
            "caption": ["one", "two"],
            "status": ["success", "failed_to_download"],
            "error_message": [None, "HTTP Error 404"],
            "jpg": [encode(picture(1), "JPEG"), None],
            "key": ["00", "01"],
            "punsafe": [0.1, 0.2],
        }
    )
    pq.write_table(table, tmp_path / "00000.parquet")
    source = open_source(str(tmp_path / "00000.parquet"))
    good, bad = source.read(0, 2)
    assert source.extra_schema.names == ["download_status", "download_error", "punsafe"]
    assert (good.alt_text, good.extra["download_status"], good.extra["punsafe"]) == ("one", "success", 0.1)
    assert (bad.image, bad.download_error) == (None, "HTTP Error 404")


def test_webdataset_sidecar_adds_the_rows_that_never_arrived(tmp_path: Path) -> None:
    tar = image_tar(tmp_path / "00000.tar", 2)
    sidecar = {
        "key": ["00000", "00001", "00002"],
        "url": ["a", "b", "c"],
        "error_message": [None, None, "HTTP Error 410"],
    }
    pq.write_table(pa.table(sidecar), tmp_path / "00000.parquet")
    rows = list(open_source(str(tar.parent)).read(0, 3))
    assert [row.image is not None for row in rows] == [True, True, False]
    assert (rows[2].url, rows[2].download_error) == ("c", "HTTP Error 410")


def test_what_is_no_source_is_refused_in_one_line(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(UserError) as error:
            open_source(str(path))
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    pq.write_table(pa.table({"URL": ["http://a"], "TEXT": ["x"]}), tmp_path / "urls.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"image": ["text"]}), tmp_path / "typed.parquet")
    (tmp_path / "not.parquet").write_bytes(b"hello")
    (tmp_path / "no.tar").write_bytes(b"hello" * 200)
    assert "no such file or folder" in refusal(tmp_path / "nowhere")
    assert "expected images" in refusal(tmp_path / "empty")
    assert "llm4gen-data download" in refusal(tmp_path / "urls.parquet")
    assert "missing column with image bytes" in refusal(tmp_path / "other.parquet")
    assert "has type string" in refusal(tmp_path / "typed.parquet")
    assert "not a Parquet file" in refusal(tmp_path / "not.parquet")
    assert "not a readable tar" in refusal(tmp_path / "no.tar")


def test_a_source_is_named_independently_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a") == str(tmp_path / "a")
    assert absolute("webdataset@a") == f"webdataset@{tmp_path / 'a'}"
