import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llm4gen_data.recaption.prepare import ImageError, PreparedImage, prepare
from tests.factories import encode, picture

MAX_PIXELS = 1024 * 1024


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_come_upright_whatever_the_exif_orientation(orientation: int) -> None:
    upright = Image.new("RGB", (40, 24), "blue")
    upright.paste((255, 0, 0), (0, 0, 20, 12))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = prepare(encode(stored, "JPEG", exif=exif, quality=95), MAX_PIXELS)
    assert (prepared.width, prepared.height) == prepared.image.size == (40, 24)
    red, _, blue = prepared.image.getpixel((5, 5))  # type: ignore[misc]
    assert red > 200 > blue
    red, _, blue = prepared.image.getpixel((35, 20))  # type: ignore[misc]
    assert blue > 200 > red


def test_large_images_shrink_to_the_limit_and_keep_their_shape_and_size_on_record() -> None:
    for format in ("JPEG", "PNG"):
        prepared = prepare(encode(Image.new("RGB", (3000, 1500), "green"), format), 100 * 100)
        assert (prepared.width, prepared.height) == (3000, 1500)
        width, height = prepared.image.size
        assert 9_000 < width * height <= 100 * 100
        assert abs(width / height - 2) < 0.05


def test_transparency_is_laid_on_white_and_every_mode_becomes_rgb() -> None:
    for mode in ("RGBA", "LA", "P", "L", "1", "CMYK", "I;16"):
        image = Image.new("RGBA", (8, 8), (255, 0, 0, 0)) if mode == "RGBA" else Image.new(mode, (8, 8))
        prepared = prepare(encode(image, "TIFF" if mode == "CMYK" else "PNG"), MAX_PIXELS)
        assert prepared.image.mode == "RGB"
        if mode == "RGBA":
            assert prepared.image.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(60_000, 60_000), (1_000_000, 200), (13_378, 10_034)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="over the limit of 134217728 pixels"):
        prepare(png_header(*size), MAX_PIXELS)


def test_damaged_bytes_say_what_is_wrong_in_the_same_words_each_time() -> None:
    whole = encode(picture(1), "JPEG")
    for data, reason in (
        (b"", "empty"),
        (b"<html>", "not an image: no JPEG"),
        (whole[: len(whole) // 2], "(?i)truncated"),
    ):
        messages = set()
        for _ in range(2):
            with pytest.raises(ImageError, match=reason) as error:
                prepare(data, MAX_PIXELS)
            messages.add(str(error.value))
        assert len(messages) == 1


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.data())
def test_mutated_bytes_give_a_picture_or_a_reason_and_nothing_else(format: str, data: st.DataObject) -> None:
    whole = bytearray(encode(picture(3), format))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        prepared = prepare(bytes(whole), 64 * 64)
        assert isinstance(prepared, PreparedImage)
        assert prepared.image.width * prepared.image.height <= 64 * 64
