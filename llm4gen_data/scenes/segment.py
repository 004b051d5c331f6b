"""Part a picture into its background and the regions where objects are."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from llm4gen_data.scenes.render import draw_background
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, FRAME_PX

Pixels = NDArray[np.float32]

# RGB units of 0-255, Euclidean. The faintest part of any object is 60 or more off any background.
FOREGROUND_DISTANCE = 30.0
INLIER_DISTANCE = 26.0
MAX_CAST = 40.0  # per channel
MIN_COST_MARGIN = 0.5
BRIDGED_BRIGHTNESS = 17.0
MIN_AREA_PX = 30  # the smallest object, a crescent of radius 8, covers about 95
MAX_EXTENT_PX = 30  # the largest object and some blur; what is longer may be several that have run together
MIN_PART_PX = 90  # of what is parted, the smallest object and a little lost
MIN_SEED_PX = 6  # of a part that is eroded as far as it parts from its neighbour
NECK_STEP_PX = 0.5
MIN_THICKNESS_SHARE = 0.7  # what is thinner than this share of a region's thickest part juts out of it
RIM_PX = 4  # no object lies mostly this close to the frame, but light or dark seams of generated pictures do


@dataclass(frozen=True, slots=True)
class Cut:
    """One way to cut objects out: at which share of their contrast, and whether over the background's brightness."""

    edge_share: float
    bridged: bool


# An edge lies where half of an object's contrast is reached, which blur does not move; the other cuts keep pale
# objects with dark marks in one piece, or apart what noise, blur or ringing has joined.
CUTS = (Cut(0.5, True), Cut(0.4, False), Cut(0.3, True), Cut(0.65, False))


def find_background(picture: Pixels) -> tuple[str | None, Pixels]:
    """Name (None if unsure) and pixels [64,64,3] of the background of `picture` [64,64,3], 0 to 255."""
    names, templates = _background_templates()
    # A colour cast moves all of a background alike; objects cover less than half of any scene.
    casts = np.median(picture[None] - templates, axis=(1, 2)).clip(-MAX_CAST, MAX_CAST)
    fitted = templates + casts[:, None, None]
    distances = np.linalg.norm(picture[None] - fitted, axis=-1)
    costs = np.minimum(distances, INLIER_DISTANCE).mean(axis=(1, 2)) + 0.3 * np.linalg.norm(casts, axis=-1)
    best, second = np.argsort(costs)[:2]
    unsure = (distances[best] < INLIER_DISTANCE).mean() < 0.4 or costs[second] - costs[best] < MIN_COST_MARGIN
    return None if unsure else names[best], fitted[best]


def find_regions(picture: Pixels, background: Pixels, cut: Cut) -> list[NDArray[np.bool_]]:
    """Connected regions [64,64] that differ from the background, holes filled, ordered from top to bottom."""
    distance = np.linalg.norm(picture - background, axis=-1)
    rough = distance > max(FOREGROUND_DISTANCE, 3 * float(np.median(distance)))
    share = ndimage.uniform_filter(rough.astype(np.float32), 7)
    contrast = ndimage.uniform_filter(distance * rough, 7) / (share + 1e-6)
    found = rough & (distance > cut.edge_share * contrast)
    if cut.bridged:
        # Between a white stripe and a gray one the picture passes through the background's own brightness.
        brightness = (picture - background).mean(axis=-1)
        lighter, darker = ndimage.maximum_filter(brightness, 3), ndimage.minimum_filter(brightness, 3)
        found |= (lighter > BRIDGED_BRIGHTNESS) & (darker < -BRIDGED_BRIGHTNESS)
    labels, n = ndimage.label(found)
    masks = [ndimage.binary_fill_holes(mask) for mask in (labels == k for k in range(1, n + 1)) if not _is_seam(mask)]
    return [part for mask in masks if mask.sum() >= MIN_AREA_PX for part in _parted(mask)]


def _is_seam(mask: NDArray[np.bool_]) -> bool:
    """Whether most of a region lies along the frame."""
    return bool(mask[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX].sum() <= mask.sum() / 2)


def _parted(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The region itself, or, where it is longer than any object, its parts on either side of a neck or a shoulder."""
    # What covers half of the picture is no row of objects but another background.
    if max(np.ptp(axis) for axis in np.nonzero(mask)) < MAX_EXTENT_PX or mask.mean() > 0.5:
        return [mask]
    depth = ndimage.distance_transform_edt(mask)
    parts = _parted_at_neck(mask, depth) or _parted_at_shoulder(mask, depth)
    return [part for each in parts for part in _parted(each)] if parts else [mask]


def _parted_at_neck(mask: NDArray[np.bool_], depth: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """The parts into which a region of such `depth` falls when eroded, grown back; none if they are no objects."""
    for level in np.arange(1, depth.max(), NECK_STEP_PX):
        labels, _ = ndimage.label(depth > level)
        seeds = np.where(np.bincount(labels.ravel())[labels] >= MIN_SEED_PX, labels, 0)
        nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
        grown = seeds[tuple(nearest)] * mask
        parts = [grown == k for k in np.unique(grown) if k]
        if len(parts) > 1 and min(part.sum() for part in parts) >= MIN_PART_PX:
            return parts
    return []


def _parted_at_shoulder(mask: NDArray[np.bool_], depth: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """The thickest part of a region, and what juts out of it; none if nothing as large as an object does."""
    reach = MIN_THICKNESS_SHARE * depth.max()
    thick = ndimage.distance_transform_edt(depth <= reach) <= reach
    labels, n = ndimage.label(mask & ~thick)
    jutting = [part for part in (labels == k for k in range(1, n + 1)) if part.sum() >= MIN_PART_PX]
    return [mask & ~np.any(jutting, axis=0), *jutting] if jutting else []


@cache
def _background_templates() -> tuple[list[str], Pixels]:
    """All background names and their pixels [N,64,64,3]."""
    pictures = [draw_background(name, 4 * FRAME_PX).reduce(4) for name in BACKGROUNDS]
    return list(BACKGROUNDS), np.stack([np.asarray(p, dtype=np.float32) for p in pictures])
