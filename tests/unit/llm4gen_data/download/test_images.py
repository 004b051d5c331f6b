from __future__ import annotations

import io

import pytest
from PIL import Image

from llm4gen_data.download.images import FittedImage, fit_image
from llm4gen_data.sources import images
from llm4gen_data.sources.images import ImageError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def red_left_half(size: tuple[int, int] = (80, 40)) -> Image.Image:
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def opened(fitted: FittedImage) -> Image.Image:
    image = Image.open(io.BytesIO(fitted.data))
    assert image.size == (fitted.width, fitted.height)
    return image.convert("RGB")


def is_near(pixel: object, color: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 12 for a, b in zip(pixel, color, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_small_upright_images_are_kept_byte_for_byte(kind: str) -> None:
    data = encode(red_left_half(), kind)
    assert fit_image(data, 40) == FittedImage(data, 80, 40, 80, 40)


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (80, 40), (10, 20)),
        (2, (80, 40), (70, 20)),
        (3, (80, 40), (70, 20)),
        (6, (40, 80), (20, 10)),
        (8, (40, 80), (20, 70)),
    ],
)
def test_pixels_are_upright_without_exif(orientation: int, size: tuple[int, int], red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    fitted = fit_image(encode(red_left_half(), quality=95, exif=exif), 1024)
    assert (fitted.original_width, fitted.original_height) == size
    image = opened(fitted)
    assert image.size == size
    assert is_near(image.getpixel(red_at), RED)
    assert orientation == 1 or Image.open(io.BytesIO(fitted.data)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_shorter_side_is_scaled_down_and_the_ratio_kept(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    fitted = fit_image(encode(red_left_half((1200, 600)), exif=exif), 100)
    expected = (200, 100) if orientation == 1 else (100, 200)
    assert (fitted.width, fitted.height) == expected
    assert (fitted.original_width, fitted.original_height) == tuple(6 * side for side in expected)
    assert is_near(opened(fitted).getpixel((5, 5)), RED)


def test_transparency_becomes_white_when_an_image_is_re_encoded() -> None:
    fitted = fit_image(encode(Image.new("RGBA", (300, 300), (0, 0, 0, 0)), "PNG"), 100)
    assert is_near(opened(fitted).getpixel((50, 50)), (255, 255, 255))


def test_grey_of_16_bits_is_scaled_not_clipped() -> None:
    fitted = fit_image(encode(Image.new("I;16", (300, 300), 0x8000), "PNG"), 100)
    assert is_near(opened(fitted).getpixel((50, 50)), (128, 128, 128))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "not an image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "not an image"),
        (encode(red_left_half((400, 400)))[:-600], "damaged image"),
        (encode(red_left_half((400, 400)), "PNG")[:-400], "damaged image"),
    ],
)
def test_what_does_not_decode_has_a_reason_without_addresses_in_memory(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        fit_image(data, 1024)
    assert " at 0x" not in str(caught.value)


def test_a_decompression_bomb_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_DECODED_PIXELS", 1000)
    with pytest.raises(ImageError, match="over the limit of 1000 pixels"):
        fit_image(encode(red_left_half((100, 100)), "PNG"), 1024)
