"""The texture of a region by the pattern of its dark pixels, wherever its marks stand and however its outline runs."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from llm4gen_data.scenes.render import (
    CHECK_CELL,
    DOT_SPACING,
    RIM_WIDTH,
    STRIPE_PERIOD,
    draw_masks,
)
from llm4gen_data.scenes.segment import Pixels
from llm4gen_data.scenes.templates import FINENESS, SIDE_PX, Pose
from llm4gen_data.scenes.vocabulary import TEXTURES

RADIUS_RATIO = 1.15  # between neighbouring radii at which patterns are drawn
SMALLEST_RADIUS_PX = 5.0
N_RADII = 11
MARK_BLUR_PX = 0.7
MIN_CORE_PX = 20
# A cell of each pattern in radii, and how many shifts of the pattern over it are tried; of a dotted or checkered one
# half a period further down stands half a period further right.
PATTERN_CELLS = {
    "striped": ((STRIPE_PERIOD * 2**0.5, 8), (0.0, 1)),
    "dotted": ((DOT_SPACING, 5), (DOT_SPACING * 0.87, 5)),
    "checkered": ((2 * CHECK_CELL, 8), (CHECK_CELL, 4)),
}
RIM_WIDTHS = (0.7, 1.0, 1.3)  # of that of drawn rims

# What speaks for each texture (rows as TEXTURES), column by column: likeness to stripes, to dots, to checks and to a
# rim; how far edges slant as those of stripes do; how sharp edges are; how much darkness varies; a constant. From a
# logistic regression on drawn scenes that were warped, blurred and shaded, and on generated objects named by eye.
WEIGHTS = np.array(
    [
        [-5.4, -2.9, 3.8, 0.9, -1.0, -17.7, -7.1, 8.3],
        [6.9, 4.7, -9.0, -2.3, 10.7, 22.6, -1.2, -6.8],
        [-2.6, 10.1, -7.3, -1.7, -2.4, -0.4, -1.9, 2.3],
        [3.9, -7.6, 10.5, -3.3, -5.6, 2.2, 8.4, -5.2],
        [-2.9, -4.2, 2.0, 6.4, -1.6, -6.7, 1.8, 1.4],
    ],
    dtype=np.float32,
)
MIN_LEAD = 0.15  # of the best score over the second, in units of log odds


def texture_of(darkness: Pixels, region: NDArray[np.bool_], pose: Pose) -> str | None:
    """The texture of a `region` [64,64], None if two are about as likely.

    `darkness` [64,64] is 0 where a pixel has the object's colour and 1 where it has that of the marks.
    """
    scores = WEIGHTS @ evidence_of_texture(darkness, region, pose)
    second, best = np.argsort(scores)[-2:]
    return TEXTURES[best] if scores[best] - scores[second] >= MIN_LEAD else None


def evidence_of_texture(darkness: Pixels, region: NDArray[np.bool_], pose: Pose) -> NDArray[np.float32]:
    """The columns of WEIGHTS."""
    core = ndimage.binary_erosion(region)
    core = core if core.sum() >= MIN_CORE_PX else region
    likeness = [_likeness(texture, darkness, core, pose) for texture in PATTERN_CELLS]
    rim = _rim_likeness(darkness, region, core, pose)
    return np.array([*likeness, rim, *_edges(darkness, core), darkness[core].std(), 1.0], dtype=np.float32)


def _edges(darkness: Pixels, core: NDArray[np.bool_]) -> tuple[float, float]:
    """How far edges run along x + y = const as stripes do (1 all, 0 as many the other way), and their contrast."""
    down, right = (slope[core] for slope in np.gradient(ndimage.gaussian_filter(darkness, 0.5)))
    strength = float((down**2 + right**2).sum()) + 1e-6
    return 2 * float((down * right).sum()) / strength, float(np.sqrt(strength / core.sum()))


def _likeness(texture: str, darkness: Pixels, core: NDArray[np.bool_], pose: Pose) -> float:
    """The correlation with a pattern of marks, at the best of its shifts and of three scales."""
    rows, columns = np.nonzero(core)
    down = np.clip(rows - round(pose.y) + SIDE_PX // 2, 0, SIDE_PX - 1)
    right = np.clip(columns - round(pose.x) + SIDE_PX // 2, 0, SIDE_PX - 1)
    middle = round(np.log(max(pose.radius, 1.0) / SMALLEST_RADIUS_PX) / np.log(RADIUS_RATIO))
    steps = {min(max(middle + k, 0), N_RADII - 1) for k in (-1, 0, 1)}
    drawn = np.concatenate([_patterns(texture, step)[:, down, right] for step in sorted(steps)])
    return float(_correlations(drawn, darkness[core]).max())


def _rim_likeness(darkness: Pixels, region: NDArray[np.bool_], core: NDArray[np.bool_], pose: Pose) -> float:
    """The correlation with a dark rim, at the best of three widths."""
    depth = ndimage.distance_transform_edt(region)[core]
    widths = [share * RIM_WIDTH * pose.radius for share in RIM_WIDTHS]
    rims = np.stack([np.clip(width + 1 - depth, 0, 1) for width in widths]).astype(np.float32)
    return float(_correlations(rims, darkness[core]).max())


def _correlations(drawn: Pixels, darkness: Pixels) -> Pixels:
    """Of each of `drawn` [N,P] with `darkness` [P]; 0 where either is flat."""
    drawn, darkness = drawn - drawn.mean(axis=1, keepdims=True), darkness - darkness.mean()
    norms = np.linalg.norm(drawn, axis=1) * np.linalg.norm(darkness)
    return np.asarray((drawn @ darkness) / np.maximum(norms, 1e-3), dtype=np.float32)


@lru_cache(maxsize=len(PATTERN_CELLS) * N_RADII)
def _patterns(texture: str, radius_step: int) -> Pixels:
    """A texture's marks at every shift [N,SIDE_PX,SIDE_PX], around the corner between the four middle pixels."""
    (width, n_right), (height, n_down) = PATTERN_CELLS[texture]
    radius = SMALLEST_RADIUS_PX * RADIUS_RATIO**radius_step * FINENESS
    middle = SIDE_PX // 2 * FINENESS
    drawn = []
    for i in range(n_down):
        for j in range(n_right):
            # Half a cell to either side, so that the marks, which end somewhere, cover the object.
            center = (middle + (j / n_right - 0.5) * width * radius, middle + (i / n_down - 0.5) * height * radius)
            _, marks = draw_masks("circle", texture, center, radius, SIDE_PX * FINENESS)
            drawn.append(np.asarray(marks.reduce(FINENESS), dtype=np.float32) / np.float32(255))
    return np.asarray(ndimage.gaussian_filter(np.stack(drawn), (0, MARK_BLUR_PX, MARK_BLUR_PX)), dtype=np.float32)
