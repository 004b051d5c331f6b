"""One downloaded image: the bytes as served where they are upright and small enough, else upright and smaller."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

JPEG_QUALITY = 95


class ImageError(Exception):
    """The bytes are not an image that can be kept; the message becomes the row's `download_error`."""


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
    if not data:
        raise ImageError("empty response")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _fit(image, data, image_size)
    except UnidentifiedImageError:
        raise ImageError("not an image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, struct.error) as error:
        # Pillow's decoders meet broken files with all of these.
        raise ImageError(f"image does not decode: {error}") from None


def _fit(image: Image.Image, data: bytes, image_size: int) -> FittedImage:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (2, 3, 4, 5, 6, 7, 8)
    scale = min(1.0, image_size / min(image.size))
    stored_size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    original_size = image.size
    if scale < 1 and image.format == "JPEG":
        image.draft(None, stored_size)  # decodes at a half, quarter or eighth, never below the size asked for
    image.load()
    if not turned and scale == 1:
        return FittedImage(data, *image.size, *image.size)
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
        stored_size, original_size = stored_size[::-1], original_size[::-1]
    upright = _on_white(upright).resize(stored_size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    upright.save(buffer, "JPEG", quality=JPEG_QUALITY, icc_profile=profile)
    return FittedImage(buffer.getvalue(), *stored_size, *original_size)


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips 16-bit grey to white.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    return image.convert("RGB")
