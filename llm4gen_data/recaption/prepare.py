"""Encoded bytes -> the upright RGB image the captioner sees, or the reason why not."""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Decoded one at a time, this many pixels are 0.5 GB of RGB; anything larger is taken for a decompression bomb.
MAX_DECODED_PIXELS = 178_956_970
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class ImageError(Exception):
    """An image that cannot be shown to a captioner; the message is for the row's `error_message`."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What the captioner sees, with the upright size of the original; sizes in pixels."""

    image: Image.Image
    width: int
    height: int


def prepare(data: bytes, max_pixels: int) -> PreparedImage:
    """Decode, turn upright by EXIF, flatten on white, shrink to at most `max_pixels` keeping the aspect ratio.

    Raises ImageError for anything that is not a whole picture of bounded size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                if opened.width * opened.height > MAX_DECODED_PIXELS:
                    raise ImageError(
                        f"{opened.width}x{opened.height} pixels, over the limit of {MAX_DECODED_PIXELS} pixels"
                    )
                # 5 to 8 are the EXIF orientations that lie on their side
                sideways = opened.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
                width, height = reversed(opened.size) if sideways else opened.size
                bound = 2 * math.isqrt(max_pixels)
                if max(opened.size) > 2 * bound:
                    # a large JPEG decodes at half or a quarter of its size; other formats ignore this
                    opened.draft("RGB", (bound, bound))
                image = _on_white(ImageOps.exif_transpose(opened))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"over the limit of {MAX_DECODED_PIXELS} pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image: no {', '.join(FORMATS)} in these {len(data)} bytes") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise ImageError(f"damaged image: {error}") from error
    return PreparedImage(_shrink(image, max_pixels), width, height)


def sha256(data: bytes) -> str:
    """The sha256 of the encoded bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def _shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    scale = math.sqrt(max_pixels / (image.width * image.height))
    if scale >= 1:
        return image
    size = (max(1, math.floor(image.width * scale)), max(1, math.floor(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
