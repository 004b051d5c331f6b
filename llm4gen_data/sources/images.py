"""Opening encoded images from strangers: formats, sizes, which way up; checked before a decoder sees the bytes."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from llm4gen_data.sources.image_headers import HeaderError, check_headers, exif_orientation

# What browsers show, and TIFF. Pillow knows forty more, some of which start other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_IMAGE_BYTES = 64 * 2**20
# As RGB these are 512 MiB in Pillow; anything larger is taken for a decompression bomb.
MAX_DECODED_PIXELS = 2**27
MAX_SIDE_PIXELS = 2**16
# EXIF orientation -> what turns the stored pixels upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)

# Damaged images make Pillow warn as well as raise; what it raises becomes the row's error.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class ImageError(Exception):
    """Bytes that are no whole picture of bounded size; the message is for the row's `error_message`."""


@contextlib.contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """An image whose header is read and whose pixels are not; whatever goes wrong in the block is an ImageError.

    Bounded before decoding: bytes, pixels, sides, and what the header makes a reader do (`check_headers`).
    """
    try:
        if not data:
            raise ImageError("not an image: empty, 0 bytes")
        if len(data) > MAX_IMAGE_BYTES:
            raise ImageError(f"{len(data)} bytes, over the limit of {MAX_IMAGE_BYTES} bytes")
        check_headers(data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_DECODED_PIXELS or max(image.size) > MAX_SIDE_PIXELS:
                raise ImageError(
                    f"{image.width}x{image.height} pixels, over the limit of {MAX_DECODED_PIXELS} pixels "
                    f"and {MAX_SIDE_PIXELS} a side"
                )
            yield image
    except ImageError:
        raise
    except HeaderError as error:
        raise ImageError(str(error)) from error
    except Image.DecompressionBombError as error:
        size = str(error).partition(" exceeds")[0]
        raise ImageError(f"{size}, over the limit of {MAX_DECODED_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image: no {', '.join(FORMATS)} in these {len(data)} bytes") from error
    except MemoryError as error:
        raise ImageError("damaged image: asks for more memory than there is") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise ImageError(f"damaged image: {error}") from error


def turn(image: Image.Image) -> Image.Transpose | None:
    """What turns a loaded image upright, None if it is. Pillow itself turns TIFF while loading."""
    return TURNS.get(exif_orientation(image.info.get("exif") or b"")) if image.format != "TIFF" else None


def upright_size(size: tuple[int, int], turned: Image.Transpose | None) -> tuple[int, int]:
    """Width and height after the turn."""
    return (size[1], size[0]) if turned in SIDEWAYS else size


def plain(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as RGB, or as RGBA where something is transparent."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips 16-bit grey to white.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
        image.info.pop("transparency", None)
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    """RGBA laid on white; RGB as it is."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
