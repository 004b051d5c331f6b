import dataclasses
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.images import first_pictures, load_image, models_of, read_manifests
from benchmarks.records import BenchImage
from benchmarks.suites.suite import by_category
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_data.runs import sha256_file
from tests.unit.benchmarks.factories import prompts_of, scene_manifest, scenes, write_manifest, write_rows


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "images.parquet").to_pylist()
    return rows


def change(folder: Path, number: int, **values: object) -> None:
    rows = rows_of(folder)
    rows[number] |= values
    write_rows(folder, rows)


def read(*folders: Path, allow_missing: bool = False) -> tuple[list[BenchImage], list[str]]:
    return read_manifests(folders, by_category, allow_missing=allow_missing)


def test_a_manifest_is_read_in_its_order_with_prompts_and_categories(tmp_path: Path) -> None:
    images, remarks = read(scene_manifest(tmp_path / "a", n=3))
    assert remarks == []
    assert models_of(images) == ["true", "shifted"]
    assert [image.prompt.prompt_id for image in images] == ["p000", "p001", "p002"] * 2
    assert [image.prompt.category for image in images[:3]] == ["first", "second", "first"]
    assert load_image(images[0]).size == (64, 64)
    assert [picture.size for picture in first_pictures(images)] == [(64, 64)] * 2


def test_several_folders_are_one_set_of_images(tmp_path: Path) -> None:
    drawn = scenes(2)
    prompts = prompts_of(drawn)
    picture = load_image(read(scene_manifest(tmp_path / "x", 1))[0][0])
    for name in ("a", "b"):
        write_manifest(tmp_path / name, prompts, {name: [picture] * 2})
    images, remarks = read(tmp_path / "a", tmp_path / "b")
    assert [(image.model, image.folder.name) for image in images] == [("a", "a")] * 2 + [("b", "b")] * 2
    assert remarks == []


@pytest.mark.parametrize("path", ["../outside.png", "/etc/hostname", "images/../../outside.png", ".", "link.png"])
def test_a_path_that_leaves_the_folder_is_refused_even_if_missing_is_allowed(tmp_path: Path, path: str) -> None:
    folder = scene_manifest(tmp_path / "a", 2)
    shutil.copy(folder / rows_of(folder)[0]["path"], tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    change(folder, 1, path=path)
    with pytest.raises(UserError, match=r"images\.parquet, row 1: .* leaves the folder"):
        read(folder, allow_missing=True)


def test_a_missing_image_is_named_unless_allowed(tmp_path: Path) -> None:
    folder = scene_manifest(tmp_path / "a", 3)
    lost = folder / rows_of(folder)[1]["path"]
    lost.unlink()
    with pytest.raises(UserError, match=rf"{lost}: no such image, of 6 images in the manifest; --allow-missing"):
        read(folder)
    images, remarks = read(folder, allow_missing=True)
    assert len(images) == 6
    assert str(lost) in remarks[0]
    with pytest.raises(ImageError, match="no such image"):
        load_image(images[1])


def test_a_folder_in_the_place_of_an_image_is_missing(tmp_path: Path) -> None:
    folder = scene_manifest(tmp_path / "a", 2)
    change(folder, 0, path="images")
    with pytest.raises(UserError, match="not a file"):
        read(folder)


def test_duplicates_are_told_and_the_first_is_kept(tmp_path: Path) -> None:
    folder = scene_manifest(tmp_path / "a", 2)
    rows = rows_of(folder)
    write_rows(folder, [*rows, rows[0] | {"path": rows[1]["path"]}])
    images, remarks = read(folder)
    assert [image.path for image in images] == [row["path"] for row in rows]
    assert len(remarks) == 1
    assert "there twice" in remarks[0]


def test_one_model_in_two_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model 'true' has images of the same prompts and seeds in"):
        read(scene_manifest(tmp_path / "a", 2), scene_manifest(tmp_path / "b", 2))


def test_one_prompt_id_with_two_texts_is_refused(tmp_path: Path) -> None:
    drawn = scenes(1)
    picture = load_image(read(scene_manifest(tmp_path / "x", 1))[0][0])
    first = prompts_of(drawn)[0]
    write_manifest(tmp_path / "a", [first], {"a": [picture]})
    write_manifest(tmp_path / "b", [dataclasses.replace(first, prompt="another")], {"b": [picture]})
    with pytest.raises(UserError, match="prompt 'p000' is not the prompt of that id in the other folders"):
        read(tmp_path / "a", tmp_path / "b")


def test_models_with_different_numbers_of_images_are_told(tmp_path: Path) -> None:
    folder = scene_manifest(tmp_path / "a", 3)
    write_rows(folder, rows_of(folder)[:-1])
    assert read(folder)[1] == ["models differ in their number of images: true 3, shifted 2"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_id": "p9"}, r"row 0: prompt 'p9' is not in prompts\.parquet"),
        ({"prompt": "other"}, r"row 0: prompt 'p000' has another text in prompts\.parquet"),
        ({"model": "a\x1b[31m"}, r"row 0: model 'a\\x1b\[31m' is no name"),
        ({"path": "images/" + "x" * 5000}, "row 0: path 'images/x+' is no path of a file"),
        ({"path": "a\x00b"}, "row 0: path .* is no name"),
    ],
)
def test_faults_of_a_row_are_one_line_that_names_it(tmp_path: Path, values: dict[str, object], message: str) -> None:
    folder = scene_manifest(tmp_path / "a", 2)
    change(folder, 0, **values)
    with pytest.raises(UserError, match=message) as caught:
        read(folder)
    assert len(str(caught.value)) < 6000


def test_faults_of_a_manifest_are_one_line(tmp_path: Path) -> None:
    folder = scene_manifest(tmp_path / "a", 2)
    table = pq.read_table(folder / "images.parquet")
    pq.write_table(table.drop_columns(["sha256", "seed"]), folder / "images.parquet")
    with pytest.raises(UserError, match="no column seed, sha256; expected an image manifest"):
        read(folder)
    write_rows(folder, [])
    with pytest.raises(UserError, match="lists no images"):
        read(folder)
    (folder / "images.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="not a Parquet file"):
        read(folder)
    (folder / "images.parquet").unlink()
    with pytest.raises(UserError, match="expected a finished folder of `llm4gen-model generate`"):
        read(folder)


def png_bomb() -> bytes:
    """A PNG of a few hundred bytes that says it is 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: png_bomb(), "over the limit"),
        (lambda data: b"<script>", "not an image"),
        (lambda data: b"", "not an image"),
        (lambda data: data[: len(data) // 2], "damaged image"),
    ],
)
def test_what_is_no_sound_picture_cannot_be_loaded(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    folder = scene_manifest(tmp_path / "a", 1)
    file = folder / rows_of(folder)[0]["path"]
    file.write_bytes(damage(file.read_bytes()))
    images, _ = read(folder)
    with pytest.raises(ImageError, match="its sha256 is not the manifest's"):
        load_image(images[0])
    with pytest.raises(ImageError, match=message):
        load_image(dataclasses.replace(images[0], sha256=sha256_file(file)))
