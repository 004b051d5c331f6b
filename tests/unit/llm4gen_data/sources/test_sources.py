import io
import json
import random
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.sources.source import Source, absolute, open_source
from tests.factories import encode, image_folder, image_parquet, image_tar, picture
from tests.hostile import damage


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


@pytest.mark.parametrize("make", [folder, parquet, two_parquets, tars])
def test_a_url_reads_as_the_local_files_do(tmp_path: Path, make: object) -> None:
    where: Path = make(tmp_path)  # type: ignore[operator]
    (where / "note.md").write_text("not a row")
    memory = fsspec.filesystem("memory")
    memory.put(str(where), "/bucket/set", recursive=True)
    try:
        local, remote = open_source(str(where)), open_source("memory://bucket/set")
        assert remote.fingerprint() == local.fingerprint() == open_source(where.as_uri()).fingerprint()
        assert list(remote.read(2, 9)) == list(local.read(2, 9))
        single = next(path for path in sorted(where.iterdir()) if path.suffix != ".md")
        one = open_source(f"memory://bucket/set/{single.name}")
        assert [row.image for row in one.read(0, 1)] == [row.image for row in local.read(0, 1)]
        for unknown in ("memory://bucket/nowhere", "nosuch://bucket/set"):
            with pytest.raises(UserError, match=unknown):
                open_source(unknown)
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_location_keeps_its_url_and_a_kind_its_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("hf://datasets/owner/name@main/data", "s3://bucket/a", "parquet@hf://datasets/owner/name@main"):
        assert absolute(url) == url
    assert absolute("file:///a/b") == "/a/b"
    assert absolute("my.module:Class@a") == f"my.module:Class@{tmp_path / 'a'}"


def test_reading_on_costs_one_pass_and_jumps_are_right(tmp_path: Path) -> None:
    image_parquet(tmp_path / "a.parquet", 200)
    image_parquet(tmp_path / "b.parquet", 130)
    source = open_source(str(tmp_path))
    keys = source.keys(0, 330)
    starts = [0, 30, 60, 200, 90, 300, 0, 120]
    for start in starts:
        assert source.keys(start, start + 30) == keys[start : start + 30]
        assert [row.key for row in source.read(start, start + 30)] == keys[start : start + 30]
    assert list(source.read(40, 40)) == []


def test_threads_that_read_side_by_side_get_their_own_rows(tmp_path: Path) -> None:
    source = open_source(str(image_parquet(tmp_path / "a.parquet", 400)))
    keys = source.keys(0, 400)

    def read(start: int) -> list[str]:
        return [row.key for row in source.read(start, start + 20)]

    with ThreadPoolExecutor(8) as pool:
        starts = list(range(0, 400, 20)) * 3
        for start, found in zip(starts, pool.map(read, starts), strict=True):
            assert found == keys[start : start + 20]


def test_hugging_face_folders_of_every_kind(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    images = [{"bytes": encode(picture(i)), "path": None} for i in range(5)]
    features = datasets.Features({"photo": datasets.Image(), "caption": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"photo": images, "caption": list("abcde")}, features=features)
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "splits")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    data.to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    for name, n_rows in (("saved", 5), ("splits", 10), ("hub", 5)):
        rows = list(open_source(str(tmp_path / name)).read(0, n_rows))
        assert [row.alt_text for row in rows] == list("abcde") * (n_rows // 5)
        assert [row.image for row in rows[:5]] == [encode(picture(i)) for i in range(5)]
        assert open_source(str(tmp_path / name)).n_rows == n_rows


def test_an_imagefolder_has_metadata_in_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        image_folder(tmp_path / split, 2)
        (tmp_path / split / "metadata.csv").write_text(f"file_name,text\n00001.png,{split} NA\n../../etc/passwd,x\n")
    rows = list(open_source(str(tmp_path)).read(0, 4))
    assert [(row.key, row.alt_text) for row in rows] == [
        ("test/00000.png", None),
        ("test/00001.png", "test NA"),
        ("train/00000.png", None),
        ("train/00001.png", "train NA"),
    ]


def test_a_finished_run_is_its_rows_whatever_figures_lie_beside_them(tmp_path: Path) -> None:
    image_parquet(tmp_path / "shards" / "00000.parquet", 3)
    image_folder(tmp_path / "stats", 1)
    (tmp_path / "fingerprint.json").write_text("{}")
    with pytest.raises(UserError, match="not complete"):
        open_source(str(tmp_path))
    (tmp_path / "manifest.json").write_text("{}")
    assert open_source(str(tmp_path)).n_rows == 3


def test_columns_of_any_type_become_rows(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a\xff", b"ok", None], pa.binary()).buffers())
    columns = {
        "image": pa.array([[1, 2, 255], None, [0]], pa.list_(pa.uint8())),
        "key": pa.array([7, None, 9], pa.int64()),
        "url": broken,
        "text": pa.array([["first", "second"], [], None], pa.list_(pa.string())),
        "when": pa.array([2**62, 0, None], pa.timestamp("us")),
        "label": pa.array(["x", "y", None]).dictionary_encode(),
        "nested": pa.array([{"a": [1.5]}, None, {"a": []}], pa.struct([("a", pa.list_(pa.float64()))])),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"))
    first, second, third = source.read(0, 3)
    assert (first.key, second.key, third.key) == ("7", "000000001", "9") == tuple(source.keys(0, 3))
    assert (first.image, second.image, second.download_error) == (b"\x01\x02\xff", None, "no image bytes")
    assert (first.url, second.url, third.url) == ("a\ufffd", "ok", None)
    assert (first.alt_text, second.alt_text, third.alt_text) == ("first", None, None)
    for name in source.extra_schema.names:
        pa.array([row.extra[name] for row in (first, second, third)], source.extra_schema.field(name).type)
    assert (first.extra["when"], first.extra["label"], first.extra["nested"]) == (None, "x", {"a": [1.5]})


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"image": pa.array([1.5])}, "has type double"),
        ({"image": pa.array([{"path": "/etc/passwd"}])}, "expected bytes"),
    ],
)
def test_what_can_hold_no_image_is_refused(tmp_path: Path, columns: dict[str, pa.Array], complaint: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=complaint):
        open_source(str(tmp_path / "a.parquet"))


def test_files_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    image_parquet(tmp_path / "a.parquet", 2, score=[1, 2])
    image_parquet(tmp_path / "b.parquet", 2, score=["x", "y"])
    with pytest.raises(UserError, match="different types"):
        open_source(str(tmp_path))
    image_parquet(tmp_path / "b.parquet", 2)
    with pytest.raises(UserError, match=r"b.parquet: has other columns"):
        open_source(str(tmp_path))
    twice = pa.Table.from_arrays([pa.array([b"a"]), pa.array([b"b"])], names=["image", "image"])
    pq.write_table(twice, tmp_path / "c.parquet")
    with pytest.raises(UserError, match="more than one column named image"):
        open_source(str(tmp_path / "c.parquet"))


def test_a_file_cut_or_damaged_after_its_footer_was_read_is_one_clear_line(tmp_path: Path) -> None:
    path = image_parquet(tmp_path / "a.parquet", 200)
    source, data = open_source(str(path)), bytearray(path.read_bytes())
    data[200:-8000] = bytes(len(data) - 8200)
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"a.parquet: damaged at row 0"):
        list(source.read(0, 200))


def test_tars_from_strangers(tmp_path: Path) -> None:
    def write(name: str, members: dict[str, bytes]) -> Path:
        with tarfile.open(tmp_path / name, "w") as tar:
            for member, data in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        return tmp_path / name

    path = write(
        "a.tar",
        {
            "../../up.png": b"image",
            "up.json": b'{"url": 5, "caption": "lone \\ud800 surrogate"}',
            "deep.png": b"",
            "deep.json": b"[" * 100_000,
            "\udcff.jpg": b"image",
            "text.txt": b"\xff\x00\x1b[31m",
        },
    )
    rows = {row.key: row for row in open_source(str(path)).read(0, 10)}
    assert set(rows) == {"a/../../up", "a/up", "a/deep", "a/\\udcff", "a/text"}
    assert (rows["a/up"].url, rows["a/up"].alt_text) == ("5", "lone \\ud800 surrogate")
    assert (rows["a/deep"].image, rows["a/text"].image) == (b"", None)
    assert rows["a/text"].alt_text == "\ufffd\x00\x1b[31m"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match=r"a.tar: not a readable tar"):
        open_source(str(path))


def test_a_tar_that_holds_more_than_its_parquet_lists_is_refused(tmp_path: Path) -> None:
    image_tar(tmp_path / "00000.tar", 3)
    pq.write_table(pa.table({"key": ["00000", "00002"]}), tmp_path / "00000.parquet")
    source = open_source(str(tmp_path))
    assert source.n_rows == 2
    with pytest.raises(UserError, match=r"00000.tar: holds sample '00001', which .*00000.parquet does not list"):
        list(source.read(0, 2))


def test_a_file_that_is_gone_or_too_large_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = image_folder(tmp_path / "a", 3)
    monkeypatch.setattr("llm4gen_data.sources.folder.MAX_IMAGE_BYTES", 1000)
    (where / "00001.png").write_bytes(bytes(1001))
    source = open_source(str(where))
    (where / "00000.png").unlink()
    gone, large, good = source.read(0, 3)
    assert (gone.image, gone.download_error) == (None, "cannot be read: No such file or directory")
    assert (large.image, large.download_error) == (None, "1001 bytes, over the limit of 1000 bytes")
    assert good.image == encode(picture(2))


def test_a_source_is_named_independently_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a") == str(tmp_path / "a")
    assert absolute("webdataset@a") == f"webdataset@{tmp_path / 'a'}"


@pytest.mark.parametrize("kind", ["parquet", "tar", "arrow"])
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path, draw = tmp_path / f"a.{kind}", random.Random(3)
    if kind == "tar":
        image_tar(path, 4)
    else:
        image_parquet(tmp_path / "a.parquet", 20, score=[i / 7 for i in range(20)])
    if kind == "arrow":
        table = pq.read_table(tmp_path / "a.parquet")
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    whole, n_read, n_refused = path.read_bytes(), 0, 0
    for number in range(60):
        data = bytearray(whole)
        if number % 2 and kind == "parquet":
            data[-draw.randrange(1, 1500)] = draw.randrange(256)  # in the footer
        else:
            damage(data, draw)
        path.write_bytes(data)
        try:
            source = open_source(str(path))
            rows = list(source.read(0, source.n_rows))
        except UserError as error:
            n_refused += 1
            assert str(path) in str(error)  # noqa: PT017
        else:
            n_read += 1
            assert len(rows) == source.n_rows
            pa.array([row.alt_text for row in rows], pa.string())
    assert n_read
    assert n_refused
