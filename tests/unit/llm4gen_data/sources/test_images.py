import struct

import pytest
from PIL import Image

from llm4gen_data.recaption.prepare import prepare
from llm4gen_data.sources import image_headers
from llm4gen_data.sources.image_headers import HeaderError, check_headers, exif_orientation
from llm4gen_data.sources.images import ImageError, open_image, turn, upright_size
from tests.factories import encode, picture
from tests.hostile import bombs, frames, greedy_directory, mutations, whole_images

MAX_PIXELS = 64 * 64
LEGAL_BOMBS = {
    "PNG with 2,000 text chunks",
    "JPEG with a profile of 12 MB",
    "GIF of 300 frames",
    "WebP of 10 frames of 1,000 x 1,000",
}


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """An EXIF block with one entry."""
    value = struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return start + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_from_either_byte_order_and_type(order: str, orientation: int) -> None:
    for kind in (3, 4):
        block = exif(orientation, order, kind)
        assert exif_orientation(block) == exif_orientation(b"Exif\0\0" + block) == orientation
        assert exif_orientation(block[:-6]) == 1


@pytest.mark.parametrize("block", [b"", b"II*\0", exif(0), exif(9), exif(65_535), b"x" * 40, exif(6)[:12]])
def test_damaged_exif_leaves_the_image_as_it_lies(block: bytes) -> None:
    assert exif_orientation(block) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_counts_in_every_format_that_has_it(kind: str) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    image = prepare(encode(picture(1, (48, 32)), kind, exif=tag), 10**6)
    assert (image.width, image.height) == image.image.size == (32, 48)
    assert image.image.info == {}


def test_sizes_are_swapped_by_turns_that_lay_an_image_on_its_side() -> None:
    turned = {None: (3, 2), Image.Transpose.ROTATE_180: (3, 2), Image.Transpose.TRANSVERSE: (2, 3)}
    assert {how: upright_size((3, 2), how) for how in turned} == turned


def outcome(data: bytes) -> tuple[int, int] | str:
    try:
        return prepare(data, MAX_PIXELS).image.size
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("kind", sorted(whole_images()))
def test_whole_images_pass(kind: str) -> None:
    with open_image(whole_images()[kind]) as image:
        image.load()
        assert (turn(image) is not None) == (kind in ("JPEG", "progressive JPEG", "PNG", "WEBP"))


def test_some_hundred_mutations_are_a_picture_or_an_image_error() -> None:
    outcomes = [outcome(data) for _, data in mutations(400, seed=11)]
    sizes = [found for found in outcomes if not isinstance(found, str)]
    reasons = [found for found in outcomes if isinstance(found, str)]
    assert all(0 < width * height <= MAX_PIXELS for width, height in sizes)
    assert all(reason and "0x" not in reason for reason in reasons)
    assert min(len(sizes), len(reasons)) > 40


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_go_off_in_nobodys_hands() -> None:
    for name, data in bombs().items():
        if name in LEGAL_BOMBS:
            assert prepare(data, MAX_PIXELS).image.width <= 64, name
        else:
            with pytest.raises(ImageError):
                prepare(data, MAX_PIXELS)


def test_of_an_animation_the_first_frame_is_seen() -> None:
    for format in ("GIF", "WEBP", "PNG"):
        red = prepare(frames(5, 16, format), MAX_PIXELS).image.getpixel((5, 5))
        assert red == (0, 0, 0), format


def test_a_lying_extension_changes_nothing_and_programs_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(ImageError, match="not an image"):
        prepare(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", MAX_PIXELS)


def test_each_bound_has_a_name() -> None:
    for data, reason in (
        (b"\xff\xd8" + b"\xff\xda\0\2ab" * 101, "more than 100 JPEG scans"),
        (b"\xff\xd8" + bytes(70_000) + b"\xff\xda\0\2", "between JPEG segments"),
        (b"\xff\xd8" + bytes(70_000), "after the last JPEG segment"),
        (b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * 5000, "before the first GIF frame"),
        (greedy_directory(100_000), "asks for more than"),
        (b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 273, 4, 10**6, 8), "1000000 numbers in entry 273"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
    ):
        with pytest.raises(HeaderError, match=reason):
            check_headers(data)
    check_headers(b"II*\0" + struct.pack("<I", 8) + b"\xff\xff")


def test_what_follows_the_first_image_of_a_jpeg_is_not_its_scans() -> None:
    film = b"\xff\xda\0\2" * 500  # as phones append films and further pictures
    assert prepare(encode(picture(1), "JPEG") + film, MAX_PIXELS).width == 48
    thumbnail = b"\xff\xe2\x07\xd2" + b"\xff\xda" * 1000
    jpeg = encode(picture(1), "JPEG")
    assert prepare(jpeg[:2] + thumbnail + jpeg[2:], MAX_PIXELS).width == 48


def test_directories_that_name_each_other_are_read_once() -> None:
    loop = struct.pack("<HHII", 0x8769, 4, 1, 8)
    data = b"II*\0" + struct.pack("<IH", 8, 1) + loop + bytes(4)
    assert len(list(image_headers._entries(data, 32))) == 1
