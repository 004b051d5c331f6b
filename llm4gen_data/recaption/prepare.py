"""Encoded bytes -> the upright RGB image the captioner sees, or the reason why not."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from PIL import Image

from llm4gen_data.sources.images import ImageError, on_white, open_image, plain, turn, upright_size

__all__ = ["ImageError", "PreparedImage", "prepare", "sha256"]


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What the captioner sees, with the upright size of the original; sizes in pixels."""

    image: Image.Image
    width: int
    height: int


def prepare(data: bytes, max_pixels: int) -> PreparedImage:
    """Decode the first frame, shrink to at most `max_pixels` keeping the aspect ratio, turn upright, lay on white.

    Raises ImageError for anything that is not a whole picture of bounded size.
    """
    with open_image(data) as opened:
        original_size, bound = opened.size, 2 * math.isqrt(max_pixels)
        if max(opened.size) > 2 * bound:
            # a large JPEG decodes at half or a quarter of its size; other formats ignore this
            opened.draft("RGB", (bound, bound))
        opened.load()
        turned = turn(opened)
        # shrunk first of all: the copies that follow are small then
        image = _shrink(plain(opened), max_pixels)
        image = on_white(image if turned is None else image.transpose(turned))
        if image is opened:
            image = image.copy()
        image.info = {}  # an engine that hashes images would parse their EXIF
    return PreparedImage(image, *upright_size(original_size, turned))


def sha256(data: bytes) -> str:
    """The sha256 of the encoded bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def _shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    scale = math.sqrt(max_pixels / (image.width * image.height))
    if scale >= 1:
        return image
    size = (max(1, math.floor(image.width * scale)), max(1, math.floor(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
