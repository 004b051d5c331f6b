"""How badly each hypothesis (shape, texture, colour) explains the pixels around a region, at its best pose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from llm4gen_data.scenes.render import mark_color
from llm4gen_data.scenes.segment import Pixels
from llm4gen_data.scenes.templates import RADIUS_STEP_PX, Pose, template
from llm4gen_data.scenes.vocabulary import COLORS

_MAIN = np.array([COLORS[color] for color in COLORS], dtype=np.float32)
_MARK_STEP = np.array([mark_color(color) for color in COLORS], dtype=np.float32) - _MAIN
MIN_GAIN = 0.3  # in RGB units, to go on correcting
_PROBE_PX = 2 * RADIUS_STEP_PX
_MAX_STEP_PX = 1.0  # of the pose in one correction


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The pixels of a region and a little around it: colours in picture and background [P,3], rows and columns [P]."""

    picture: Pixels
    background: Pixels
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Fit:
    """Root mean square error of each texture and colour [TEXTURES, COLORS] in RGB units, for one shape at `pose`."""

    pose: Pose
    errors: NDArray[np.float32]


def surroundings(
    picture: Pixels, background: Pixels, region: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Surroundings:
    """The region and 3 px around it, without what is near `others`."""
    counted = ndimage.binary_dilation(region, iterations=3) & ~ndimage.binary_dilation(others, iterations=2)
    rows, columns = np.nonzero(counted)
    return Surroundings(picture[rows, columns], background[rows, columns], rows, columns)


def fit(shape: str, pose: Pose, around: Surroundings, blur_px: float, *, corrections: int = 0) -> Fit:
    """The errors of a shape, after so many corrections of its pose under the best texture and colour."""
    layers = template(shape, pose, blur_px, around.rows, around.columns)
    errors = _errors(layers, around)
    for _ in range(corrections):
        texture, color = np.unravel_index(errors.argmin(), errors.shape)
        moved = _corrected(shape, pose, around, blur_px, layers, int(texture), int(color))
        moved_layers = template(shape, moved, blur_px, around.rows, around.columns)
        moved_errors = _errors(moved_layers, around)
        gain = errors.min() - moved_errors.min()
        if gain > 0:
            pose, layers, errors = moved, moved_layers, moved_errors
        if gain < MIN_GAIN:
            break
    return Fit(pose, errors)


def _errors(layers: Pixels, around: Surroundings) -> NDArray[np.float32]:
    inside, marked = layers[0], layers[1:]
    # The picture minus what shows of the background must be inside * main + marked * (mark - main).
    rest = around.picture - around.background * (1 - inside[:, None])
    explained = (inside @ rest @ _MAIN.T)[None] + marked @ rest @ _MARK_STEP.T
    predicted = (
        (inside @ inside) * (_MAIN**2).sum(axis=1)[None]
        + (marked**2).sum(axis=1)[:, None] * (_MARK_STEP**2).sum(axis=1)[None]
        + 2 * (marked @ inside)[:, None] * (_MAIN * _MARK_STEP).sum(axis=1)[None]
    )
    squared = (rest**2).sum() - 2 * explained + predicted
    errors: NDArray[np.float32] = np.sqrt(np.maximum(squared, 0) / max(len(inside), 1))
    return errors


def _corrected(
    shape: str, pose: Pose, around: Surroundings, blur_px: float, layers: Pixels, texture: int, color: int
) -> Pose:
    """One Gauss-Newton step of place and radius for a given texture and colour."""
    main, mark_step = _MAIN[color], _MARK_STEP[color]
    moved_poses = (
        Pose(pose.x + _PROBE_PX, pose.y, pose.radius),
        Pose(pose.x, pose.y + _PROBE_PX, pose.radius),
        Pose(pose.x, pose.y, pose.radius + _PROBE_PX),
    )
    slopes = []
    for moved in moved_poses:
        change = (template(shape, moved, blur_px, around.rows, around.columns) - layers) / _PROBE_PX
        slopes.append(change[0][:, None] * (main - around.background) + change[1 + texture][:, None] * mark_step)
    jacobian = np.stack(slopes).reshape(3, -1)
    inside, marked = layers[0][:, None], layers[1 + texture][:, None]
    predicted = around.background * (1 - inside) + inside * main + marked * mark_step
    missing = (around.picture - predicted).ravel()
    correction = np.linalg.lstsq(jacobian @ jacobian.T, jacobian @ missing, rcond=None)[0]
    right, down, growth = (float(c) for c in np.clip(correction, -_MAX_STEP_PX, _MAX_STEP_PX))
    return Pose(pose.x + right, pose.y + down, pose.radius + growth)
