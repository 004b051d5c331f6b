"""One downloaded image: the bytes as served where they are upright and small enough, else upright and smaller."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from llm4gen_data.sources.images import on_white, open_image, plain, turn, upright_size

JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class FittedImage:
    """Image bytes whose pixels are upright without EXIF; sizes are pixels of the upright image."""

    data: bytes
    width: int
    height: int
    original_width: int
    original_height: int


def fit_image(data: bytes, image_size: int) -> FittedImage:
    """Check that `data` decodes to its last row, and bring it into limits if it is not.

    The bytes are kept as served (JPEG, PNG, WebP, GIF, ...) if the shorter side has at most `image_size`
    pixels and EXIF does not turn the image. Otherwise the image is turned upright, its shorter side scaled to
    `image_size` (never up, aspect ratio kept, no border), and stored as JPEG of quality 95, transparency on white.
    Raises ImageError for bytes that are empty, no image, truncated or too many pixels to decode safely.
    """
    with open_image(data) as image:
        original_size, scale = image.size, min(1.0, image_size / min(image.size))
        stored_size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        if scale < 1 and image.format == "JPEG":
            image.draft(None, stored_size)  # decodes at a half, quarter or eighth, never below the size asked for
        image.load()
        turned = turn(image)
        original_size, upright_stored = upright_size(original_size, turned), upright_size(stored_size, turned)
        if turned is None and scale == 1:
            return FittedImage(data, *upright_stored, *original_size)
        profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
        upright = plain(image).resize(stored_size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        upright = on_white(upright if turned is None else upright.transpose(turned))
        buffer = io.BytesIO()
        upright.save(buffer, "JPEG", quality=JPEG_QUALITY, icc_profile=profile, exif=b"")
    return FittedImage(buffer.getvalue(), *upright_stored, *original_size)
