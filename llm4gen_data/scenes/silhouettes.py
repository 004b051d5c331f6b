"""The shape of a region by its outline, where no drawing explains its pixels: which shape it is a distortion of."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from llm4gen_data.scenes.fit import Surroundings, fit
from llm4gen_data.scenes.segment import Pixels
from llm4gen_data.scenes.templates import MAX_RADIUS_PX, Pose, pose_of, template
from llm4gen_data.scenes.vocabulary import COLORS, FRAME_PX, SHAPES

REGION_BLUR_PX = 0.6
PICTURE_BLUR_PX = 1.1
N_SHAPES_MOVED = 6
N_MOVES = 2
MAX_MOVE_PX = 1.5
MAX_STRAIN = 0.25  # natural logarithm of the most that a region is stretched or squeezed in any direction
STRAIN_COST = 0.5
MAX_OVERLAP_LOSS = 0.3  # 1 less intersection over union; of a shape that is told
MIN_MISFIT_RATIO = 1.15  # of the likeliest two, for the likeliest to be told
# A wobbling outline is as far from each of these, but not as near to one as to the other where the two differ.
ROUND_SHAPES = {"circle", "hexagon", "pentagon", "square"}
MIN_LEAN = 0.08  # beyond the middle between two of them

_ROWS, _COLUMNS = (axis.ravel() for axis in np.indices((FRAME_PX, FRAME_PX)))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a region to a shape: `overlap_loss` is 1 less intersection over union, `misfit` is on a scale of ratios."""

    shape: str
    pose: Pose
    overlap_loss: float
    misfit: float


def likely_shapes(region: NDArray[np.bool_], around: Surroundings, color: str) -> list[Likeness]:
    """The likeliest shapes of a region, best first.

    A misfit is a product of what area, outline and pixels say: the share of area that region and shape do not have in
    common once the region is straightened (and how much it had to be), how far their outlines are apart, and how badly
    the shape in its best texture of `color` fits the pixels.
    """
    straight = {shape: _straightened(region, shape) for shape in SHAPES}
    first = {shape: _loss_at(shape, pose_of(shape, mask), mask) for shape, (mask, _) in straight.items()}
    depth = _depth(region)
    found = []
    for shape in sorted(SHAPES, key=lambda shape: first[shape])[:N_SHAPES_MOVED]:
        mask, strain = straight[shape]
        loss = _loss_at(shape, _moved(shape, mask), mask)
        pose = _moved(shape, region)
        apart = _outline_distance(shape, pose, depth) / pose.radius
        unlike = float(fit(shape, pose, around, PICTURE_BLUR_PX).errors[:, list(COLORS).index(color)].min())
        found.append(Likeness(shape, pose, loss, loss * np.exp(STRAIN_COST * strain) * np.sqrt(apart) * unlike))
    return sorted(found, key=lambda likeness: likeness.misfit)


def shape_of(region: NDArray[np.bool_], likeliest: Likeness, rival: Likeness) -> str | None:
    """The shape of a region given its likeliest two, None if no shape covers it or two are about as likely."""
    if likeliest.overlap_loss > MAX_OVERLAP_LOSS:
        return None
    if rival.misfit >= likeliest.misfit * MIN_MISFIT_RATIO:
        return likeliest.shape
    if {likeliest.shape, rival.shape} <= ROUND_SHAPES:
        lean = _way_between(region, likeliest, rival) - 0.5
        if abs(lean) >= MIN_LEAN:
            return likeliest.shape if lean < 0 else rival.shape
    return None


def _way_between(region: NDArray[np.bool_], likeliest: Likeness, rival: Likeness) -> float:
    """How far a region is on the way from one shape, 0, to another, 1, by the pixels in which these two differ."""
    rows, columns, soft = _window(region)
    start, end = (_inside(each.shape, each.pose, rows, columns) for each in (likeliest, rival))
    way = end - start
    return float((soft - start) @ way / max(float(way @ way), 1e-6))


def _straightened(region: NDArray[np.bool_], shape: str) -> tuple[NDArray[np.bool_], float]:
    """The region stretched and sheared a little, about its centroid, so that it spreads as `shape` does; how much."""
    rows, columns = np.nonzero(region)
    spread = np.cov(np.stack([rows, columns])) + 1e-3 * np.eye(2)
    wanted = _spread(shape) * np.sqrt(np.linalg.det(spread))
    # The symmetric matrix that takes the one spread to the other is their geometric mean's.
    root = _power(spread, 0.5)
    back = _power(spread, -0.5)
    values, axes = np.linalg.eigh(back @ _power(root @ wanted @ root, 0.5) @ back)
    strains = np.log(np.maximum(values, 0.05))
    limited = np.clip(strains, -MAX_STRAIN, MAX_STRAIN)
    inverse = (axes * np.exp(-limited)) @ axes.T
    centroid = np.array([rows.mean(), columns.mean()])
    moved = ndimage.affine_transform(region.astype(np.float32), inverse, centroid - inverse @ centroid, order=1)
    return moved > 0.5, float(np.abs(strains).max())


@cache
def _spread(shape: str) -> NDArray[np.float64]:
    """Covariance of rows and columns in a shape, of determinant 1."""
    middle = FRAME_PX / 2
    share = _inside(shape, Pose(middle, middle, MAX_RADIUS_PX))
    covariance = np.cov(np.stack([_ROWS, _COLUMNS]), aweights=share)
    return np.asarray(covariance / np.sqrt(np.linalg.det(covariance)))


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Of a symmetric positive matrix."""
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 1e-6) ** exponent) @ axes.T)


def _inside(
    shape: str, pose: Pose, rows: NDArray[np.intp] = _ROWS, columns: NDArray[np.intp] = _COLUMNS
) -> NDArray[np.float32]:
    return np.asarray(template(shape, pose, REGION_BLUR_PX, rows, columns)[0], dtype=np.float32)


def _loss_at(shape: str, pose: Pose, region: NDArray[np.bool_]) -> float:
    rows, columns, soft = _window(region)
    return _overlap_loss(_inside(shape, pose, rows, columns), soft)


def _overlap_loss(inside: NDArray[np.float32], soft: NDArray[np.float32]) -> float:
    return float(np.abs(inside - soft).sum() / max(float(np.maximum(inside, soft).sum()), 1e-6))


def _window(region: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The pixels in and around a region, and how much of each it covers, its outline softened."""
    rows, columns = np.nonzero(ndimage.binary_dilation(region, iterations=4))
    return rows, columns, ndimage.gaussian_filter(region.astype(np.float32), REGION_BLUR_PX)[rows, columns]


def _moved(shape: str, region: NDArray[np.bool_]) -> Pose:
    """Where the shape overlaps the region best, by some Gauss-Newton steps from the same centroid and area."""
    rows, columns, soft = _window(region)
    pose = pose_of(shape, region)
    inside = _inside(shape, pose, rows, columns)
    for _ in range(N_MOVES):
        probes = (
            Pose(pose.x + 0.5, pose.y, pose.radius),
            Pose(pose.x, pose.y + 0.5, pose.radius),
            Pose(pose.x, pose.y, pose.radius + 0.5),
        )
        slopes = np.stack([(_inside(shape, probe, rows, columns) - inside) / 0.5 for probe in probes])
        step = np.linalg.lstsq(slopes @ slopes.T, slopes @ (soft - inside), rcond=None)[0]
        right, down, growth = (float(s) for s in np.clip(step, -MAX_MOVE_PX, MAX_MOVE_PX))
        moved = Pose(pose.x + right, pose.y + down, max(pose.radius + growth, 1.0))
        moved_inside = _inside(shape, moved, rows, columns)
        if _overlap_loss(moved_inside, soft) >= _overlap_loss(inside, soft):
            break
        pose, inside = moved, moved_inside
    return pose


def _outline_distance(shape: str, pose: Pose, depth: Pixels) -> float:
    """Root mean square distance between the outline of a shape and that of a region of such `depth`, in pixels."""
    own_depth = _depth(_inside(shape, pose).reshape(FRAME_PX, FRAME_PX) > 0.5)
    apart = depth - own_depth
    along = np.concatenate([apart[np.abs(depth) < 1.1], apart[np.abs(own_depth) < 1.1]])
    return float(np.sqrt((along**2).mean()))


def _depth(mask: NDArray[np.bool_]) -> Pixels:
    """Distance to the outline in pixels, negative outside."""
    inner, outer = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.asarray(inner - outer, dtype=np.float32)
