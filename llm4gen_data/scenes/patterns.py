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
SPOT_BLUR_PX = 0.8
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
# rim; how far edges slant as those of stripes do; how sharp edges are; how much darkness varies; how much of its
# curvature is that of dark spots, of light spots and of saddles; a constant. From a ridge-regularised logistic
# regression on drawn scenes, distorted (some with faint marks) or decoded from noisy latents, and on generated objects
# named by eye; `python -m pipelines.labels textures` fits their like.
WEIGHTS = np.array(
    [
        [0.0, -1.2, -1.9, 0.0, -0.2, -8.1, -10.4, -12.3, -14.0, -6.7, 8.2],
        [2.2, -1.6, 0.9, -0.6, 1.9, 4.8, 0.9, -14.9, -21.3, -12.2, 2.1],
        [-2.0, 6.8, -1.9, -0.6, -0.5, -2.1, 0.0, 17.6, -1.2, 17.6, -3.7],
        [1.7, -1.2, 4.2, -1.8, -1.0, 3.3, 2.9, 25.8, 30.4, -1.3, -6.2],
        [-1.8, -2.7, -1.4, 3.0, -0.2, 2.0, 6.5, -16.2, 6.1, 2.6, -0.4],
    ],
    dtype=np.float32,
)
# In units of log odds:
MIN_LEAD = 0.15  # of the best score over the second
EXPECTED_LEAD = 2.0  # of the texture that is expected


def texture_of(darkness: Pixels, region: NDArray[np.bool_], pose: Pose, expected: str | None = None) -> str | None:
    """The texture of a `region` [64,64], None if two are about as likely; clear evidence overrules the `expected` one.

    `darkness` [64,64] is 0 where a pixel has the object's colour and 1 where it has that of the marks.
    """
    scores = WEIGHTS @ evidence_of_texture(darkness, region, pose)
    scores += [EXPECTED_LEAD * (texture == expected) for texture in TEXTURES]
    second, best = np.argsort(scores)[-2:]
    return TEXTURES[best] if scores[best] - scores[second] >= MIN_LEAD else None


def evidence_of_texture(darkness: Pixels, region: NDArray[np.bool_], pose: Pose) -> NDArray[np.float32]:
    """The columns of WEIGHTS."""
    core = ndimage.binary_erosion(region)
    core = core if core.sum() >= MIN_CORE_PX else region
    likeness = [_likeness(texture, darkness, core, pose) for texture in PATTERN_CELLS]
    rim = _rim_likeness(darkness, region, core, pose)
    marks = (*_edges(darkness, core), darkness[core].std(), *_curvatures(darkness, core))
    return np.array([*likeness, rim, *marks, 1.0], dtype=np.float32)


def _edges(darkness: Pixels, core: NDArray[np.bool_]) -> tuple[float, float]:
    """How far edges run along x + y = const as stripes do (1 all, 0 as many the other way), and their contrast."""
    down, right = (slope[core] for slope in np.gradient(ndimage.gaussian_filter(darkness, 0.5)))
    strength = float((down**2 + right**2).sum()) + 1e-6
    return 2 * float((down * right).sum()) / strength, float(np.sqrt(strength / core.sum()))


def _curvatures(darkness: Pixels, core: NDArray[np.bool_]) -> tuple[float, float, float]:
    """How much darkness curves as in dark spots, as in light ones, and as in saddles, such as where checks meet.

    Marks too faint or too crooked to be like drawn ones are still spots. By the eigenvalues of the Hessian, each share
    relative to the curvature of all kinds.
    """
    nearest = ndimage.distance_transform_edt(~core, return_distances=False, return_indices=True)
    down, right = np.gradient(ndimage.gaussian_filter(darkness[tuple(nearest)], SPOT_BLUR_PX))
    (down_down, down_right), right_right = np.gradient(down), np.gradient(right, axis=1)
    mean = (down_down + right_right)[core] / 2
    apart = np.hypot((down_down - right_right)[core] / 2, down_right[core])
    least, most = mean - apart, mean + apart
    overall = float(np.sqrt((least**2 + most**2).mean())) + 0.01
    kinds = (np.maximum(-most, 0), np.maximum(least, 0), np.sqrt(np.maximum(-least * most, 0)))
    spots, light_spots, saddles = (float(kind.mean()) / overall for kind in kinds)
    return spots, light_spots, saddles


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
