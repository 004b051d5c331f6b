"""Drawings of shapes and textures to compare a region with, and where in the region they would have to stand."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops
from scipy import ndimage

from llm4gen_data.scenes.outlines import outline
from llm4gen_data.scenes.render import draw_masks
from llm4gen_data.scenes.segment import Pixels
from llm4gen_data.scenes.vocabulary import TEXTURES

FINENESS = 4  # drawn pixels per template pixel
SIDE_PX = 42  # templates hold the largest object and some background around it
RADIUS_STEP_PX = 0.25
MIN_RADIUS_PX, MAX_RADIUS_PX = 4.0, 18.0  # beyond what scenes hold, for pictures that are not ours


@dataclass(frozen=True, slots=True)
class Pose:
    """Centre and radius of the circumscribed circle in pixels of the 64-px frame."""

    x: float
    y: float
    radius: float


def pose_of(shape: str, region: NDArray[np.bool_], shrunk_px: float = 0.0) -> Pose:
    """Where `shape` would have to stand to cover `region` [64,64]: same centroid, same area or a smaller radius."""
    rows, columns = np.nonzero(region)
    area, centroid_x, centroid_y = _moments(shape)
    radius = float(np.sqrt(len(rows) / area)) - shrunk_px
    # A pixel's middle is half a pixel behind its index.
    x = float(columns.mean()) + 0.5 - radius * centroid_x
    y = float(rows.mean()) + 0.5 - radius * centroid_y
    return Pose(x, y, radius)


@cache
def _moments(shape: str) -> tuple[float, float, float]:
    """Area and centroid of the unit shape, by the polygon formulas."""
    points = np.array(outline(shape))
    x, y = points.T
    next_x, next_y = np.roll(points, -1, axis=0).T
    cross = x * next_y - next_x * y
    area = cross.sum() / 2
    centroid_x = ((x + next_x) * cross).sum() / (6 * area)
    centroid_y = ((y + next_y) * cross).sum() / (6 * area)
    return abs(float(area)), float(centroid_x), float(centroid_y)


def template(shape: str, pose: Pose, blur_px: float, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Pixels:
    """How much of each pixel the object covers and how much the marks of each texture, [1+TEXTURES, P].

    `rows` and `columns` are the frame's pixels [P]; the drawing is moved by parts of a pixel bilinearly.
    """
    steps = round(min(max(pose.radius, MIN_RADIUS_PX), MAX_RADIUS_PX) / RADIUS_STEP_PX)
    flat = _centered(shape, steps, blur_px).reshape(1 + len(TEXTURES), -1)
    row_low, row_high, down = _neighbors(rows, pose.y)
    column_low, column_high, right = _neighbors(columns, pose.x)
    row_low, row_high = row_low * SIDE_PX, row_high * SIDE_PX
    upper = flat.take(row_low + column_low, axis=1) * (1 - right) + flat.take(row_low + column_high, axis=1) * right
    lower = flat.take(row_high + column_low, axis=1) * (1 - right) + flat.take(row_high + column_high, axis=1) * right
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def _neighbors(pixels: NDArray[np.intp], center: float) -> tuple[NDArray[np.intp], NDArray[np.intp], np.float32]:
    """The two template pixels that each of the frame's pixels lies between on an axis, and its share of the second."""
    start = center - SIDE_PX // 2
    whole = int(np.floor(-start))
    low = pixels + whole
    # The rims of a template are empty, so that they may stand for everything beyond.
    last = SIDE_PX - 1
    inside, next_inside = (np.minimum(np.maximum(at, 0), last) for at in (low, low + 1))
    return inside, next_inside, np.float32(-start - whole)


@lru_cache(maxsize=4096)
def _centered(shape: str, radius_steps: int, blur_px: float) -> Pixels:
    """The template around the corner between the four middle pixels."""
    if blur_px:
        sharp = _centered(shape, radius_steps, 0.0)
        return np.asarray(ndimage.gaussian_filter(sharp, (0, blur_px, blur_px)), dtype=np.float32)
    center = (SIDE_PX // 2 * FINENESS, SIDE_PX // 2 * FINENESS)
    layers: list[Image.Image] = []
    for texture in TEXTURES:
        mask, drawn = draw_masks(shape, texture, center, radius_steps * RADIUS_STEP_PX * FINENESS, SIDE_PX * FINENESS)
        if not layers:
            layers.append(mask)
        layers.append(ImageChops.darker(mask, drawn))
    return np.stack([_averaged(layer) for layer in layers])


def _averaged(fine: Image.Image) -> Pixels:
    return np.asarray(fine.reduce(FINENESS), dtype=np.float32) / np.float32(255)
