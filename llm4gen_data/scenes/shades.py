"""The colour of a region by its pixels, however it is shaped: mixtures of a colour and the shade of its marks."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from llm4gen_data.scenes.render import mark_color
from llm4gen_data.scenes.segment import Pixels
from llm4gen_data.scenes.vocabulary import COLORS

# The eye calls orange much that lies nearer to red, and purple much that lies nearer to pink.
RESERVE = {"red": 1.2, "pink": 1.2}
N_MIXTURES = 6  # of a colour and its mark shade, from the one to the other


def color_distances(pixels: Pixels) -> NDArray[np.float32]:
    """How far `pixels` [P,3] lie from each colour [COLORS] and its mark shade or what is between them, in OKLab."""
    apart = _oklab(pixels)[:, None, None] - _mixtures()
    distances = np.median(np.linalg.norm(apart, axis=-1).min(axis=-1), axis=0)
    return np.asarray(distances * [RESERVE.get(color, 1.0) for color in COLORS], dtype=np.float32)


def darkness_of(picture: Pixels, color: str) -> Pixels:
    """How far each pixel [64,64] is on the way from `color`, 0, to its mark shade, 1."""
    main = np.array(COLORS[color], dtype=np.float32)
    way = np.array(mark_color(color), dtype=np.float32) - main
    return np.asarray(np.clip((picture - main) @ way / (way @ way), -0.3, 1.3), dtype=np.float32)


@cache
def _mixtures() -> NDArray[np.float32]:
    """[COLORS, N_MIXTURES, 3] in OKLab."""
    main = np.array([COLORS[color] for color in COLORS], dtype=np.float32)[:, None]
    mark = np.array([mark_color(color) for color in COLORS], dtype=np.float32)[:, None]
    return _oklab(main + (mark - main) * np.linspace(0, 1, N_MIXTURES, dtype=np.float32)[:, None])


def _oklab(rgb: Pixels) -> NDArray[np.float32]:
    """sRGB of 0 to 255 in OKLab, where distance is about what the eye sees (Ottosson, 2020)."""
    share = np.clip(rgb, 0, 255) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T, dtype=np.float32)


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
