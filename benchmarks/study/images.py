"""Pictures as raters get them: one size, one format, one file length, no metadata, named by what they hold."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageFilter

from benchmarks.images import load_image
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError, sha256
from llm4gen_data.runs import atomic_path

MAX_SIZE_PX = 1024
# Up to this canvas pictures are stored as PNG without compression, which makes every file equally long.
MAX_PNG_PX = 128
JPEG_QUALITY = 95
PADDING = (128, 128, 128)
DEGRADED_PX = 12  # a gold picture keeps so many pixels on its longer side
MTIME = 946_684_800  # every file's, seconds since 1970: the first of January 2000

Source = Callable[[], Image.Image]


def picture(image: BenchImage) -> Image.Image:
    """The picture of an image. Raises UserError if it cannot be read."""
    try:
        return load_image(image)
    except ImageError as error:
        raise UserError(f"{image.file}: {error}") from error


def degraded(image: Image.Image) -> Image.Image:
    """The picture as nobody could prefer it: the wrong side of a gold pair where the prompt is not shown."""
    small = image.copy()
    small.thumbnail((DEGRADED_PX, DEGRADED_PX), Image.Resampling.BOX)
    blurred = small.resize(image.size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    return Image.blend(blurred, Image.new("RGB", image.size, PADDING), 0.25)


def canvas_of(sizes: Sequence[tuple[int, int]], size_px: int) -> tuple[int, int, int]:
    """Longer side that every picture is scaled to, and width and height of the canvas that then holds all; pixels.

    Without `size_px` it is that of the smallest picture, so that none is enlarged.
    """
    side = size_px or min(MAX_SIZE_PX, min(max(size) for size in sizes))
    scaled = [_scaled(size, side) for size in sizes]
    return side, max(width for width, _ in scaled), max(height for _, height in scaled)


def equalised(image: Image.Image, side: int, width: int, height: int) -> Image.Image:
    """The picture scaled to the longer side `side`, in the middle of a grey canvas."""
    size = _scaled(image.size, side)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if size == (width, height):
        return image
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(image, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def write_pictures(sources: Sequence[Source], folder: Path, side: int, width: int, height: int) -> list[str]:
    """Write each picture to `folder` under its sha256; the file names in the order of `sources`.

    JPEG files are filled up behind their end mark, which decoders ignore, to the length of the longest. They are
    encoded twice, first to know that length, so that memory does not grow with their number.
    """
    is_png = max(width, height) <= MAX_PNG_PX

    def encoded(source: Source) -> bytes:
        buffer = io.BytesIO()
        ready = equalised(source(), side, width, height)
        if is_png:
            ready.save(buffer, "PNG", compress_level=0)
        else:
            ready.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()

    def write(source: Source) -> str:
        data = encoded(source).ljust(n_bytes, b"\0")
        name = f"{sha256(data)}.{'png' if is_png else 'jpg'}"
        if not (folder / name).exists():
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(data)
                os.utime(temporary, (MTIME, MTIME))  # written one model after the other, they would tell
        return name

    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor() as workers:
        n_bytes = 0 if is_png else max(workers.map(lambda source: len(encoded(source)), sources))
        return list(workers.map(write, sources))


def _scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
