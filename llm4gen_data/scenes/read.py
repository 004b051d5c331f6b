"""Read a picture back: which objects are there, with which attributes, and how they stand to each other.

Each region is compared with drawings of every shape in every texture and colour. Where the best of them explains the
pixels as well as it does in drawn scenes, an attribute is told if its rivals fit clearly worse, else not.

Pictures of generative models are drawn less well: outlines wobble, marks run together or are faint, colours are
uneven. Where drawings leave something open, or explain a region badly, each attribute is told by evidence of its own,
as a person would: the colour by the pixels as mixtures of it and its marks' shade (`shades`), the shape by the
region's outline, a little straightened, and how the shape fits the pixels there (`silhouettes`), the texture by the
pattern of dark pixels, wherever its marks stand (`patterns`), the size by the extent of the likeliest shape. The
reader abstains where two answers are nearly as likely, where no colour is near, and of the shape where even the best
covers another area than the region.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from llm4gen_data.scenes.facts import Facts, ObjectFact, canonical_relations
from llm4gen_data.scenes.fit import Fit, Surroundings, fit, surroundings
from llm4gen_data.scenes.patterns import texture_of
from llm4gen_data.scenes.sample import RELATION_MARGIN_PX, Relation
from llm4gen_data.scenes.segment import CUTS, FOREGROUND_DISTANCE, MIN_AREA_PX, Pixels, find_background, find_regions
from llm4gen_data.scenes.shades import color_distances, darkness_of
from llm4gen_data.scenes.silhouettes import likely_shapes, shape_of
from llm4gen_data.scenes.templates import Pose, pose_of
from llm4gen_data.scenes.vocabulary import COLORS, FRAME_PX, SHAPES, SIZE_BORDER_PX, TEXTURES, size_of_radius

N_SHAPES_TRIED = 4
# Where all objects fit as well as this (RGB units) and have such radii, no other cut is tried.
GOOD_RMS = 34.0
MAX_RMS_SPREAD = 4.0  # between the objects of one picture
FINE_RMS = 10.0  # no second start
PLAUSIBLE_RADII_PX = (7.0, 15.5)
MAX_STRAY_PIXELS = 6
ROUGH_BLURS_PX = (0.7, 1.8)
BLURS_PX = (0.0, 0.6, 1.1, 1.6, 2.1)

MAX_RMS = 48.0  # RGB units; where even the best hypothesis fits worse, nothing is told
MIN_RATIO = {"shape": 1.08, "color": 1.2, "texture": 1.15}  # misfit of the best rival over that of the best
MIN_DIFFERENCE_RMS = 2.0  # between the same two
SIZE_DOUBT_PX = 0.3  # radii this close to the border between small and large are not told

EXPLAINED_RMS = 36.0  # drawn scenes stay below, JPEG and all; above, evidence is believed before drawings
DOUBTFUL_RMS = 7.0  # above, evidence tells what drawings leave open
FAINT_RMS = 20.0  # above, where marks may be too faint for drawings, clear evidence of a texture overrules them
MIN_COLOR_RATIO = 1.04  # of the distances of the nearest two
MAX_COLOR_DISTANCE = 0.17  # OKLab


@dataclass(frozen=True, slots=True)
class ReadObject:
    """An object in the picture; None is what cannot be told. `x`, `y`, `radius` in pixels of the 64-px frame."""

    shape: str | None
    color: str | None
    texture: str | None
    size: str | None
    x: float
    y: float
    radius: float
    rms: float  # misfit of the best hypothesis in RGB units of 0-255


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader sees; relations index `objects`."""

    objects: tuple[ReadObject, ...]
    relations: tuple[Relation, ...]
    background: str | None

    def facts(self) -> Facts:
        """As facts, to be compared with what a prompt claims; objects of which nothing is told are left out."""
        told = [i for i, o in enumerate(self.objects) if o.shape or o.color or o.texture]
        objects = tuple(ObjectFact(o.shape, o.color, o.texture, o.size) for o in (self.objects[i] for i in told))
        between_told = (r for r in self.relations if r.subject in told and r.object in told)
        found = ((told.index(r.subject), r.relation, told.index(r.object)) for r in between_told)
        return Facts(objects, canonical_relations(found), self.background)


def read_scene(image: Image.Image) -> Reading:
    """Read an image of any size and mode; it is scaled to the 64-px frame."""
    small = image.convert("RGB")
    if small.size != (FRAME_PX, FRAME_PX):
        small = small.resize((FRAME_PX, FRAME_PX), Image.Resampling.LANCZOS)
    picture = np.asarray(small, dtype=np.float32)
    name, background = find_background(picture)
    attempts: list[_Attempt] = []
    for cut in CUTS:
        attempts.append(_read_regions(picture, background, find_regions(picture, background, cut)))
        if attempts[-1].is_good():
            break
    best = min(attempts, key=lambda attempt: attempt.error)
    seen = zip(best.objects, best.places, best.fitting, strict=True)
    objects = tuple(_completed(picture, place, o, fitting) for o, place, fitting in seen)
    return Reading(objects, _relations(objects), name)


def _relations(objects: tuple[ReadObject, ...]) -> tuple[Relation, ...]:
    """As `sample.relations`; true centres lie on whole pixels, so half a pixel below the margin parts best."""
    margin = RELATION_MARGIN_PX - 0.5
    found = []
    for i, a in enumerate(objects):
        for j, b in enumerate(objects):
            if b.x - a.x >= margin:
                found += [Relation(i, "left of", j), Relation(j, "right of", i)]
            if b.y - a.y >= margin:
                found += [Relation(i, "above", j), Relation(j, "below", i)]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one cut yields; `error` is how much of the picture is left unexplained."""

    objects: tuple[ReadObject, ...]
    places: tuple["_Place", ...]  # of the objects
    fitting: tuple[str, ...]  # the shape that fits each of them best, told or not
    error: float
    n_stray_pixels: int  # foreground that belongs to no object

    def is_good(self) -> bool:
        """Whether another cut could hardly do better."""
        low, high = PLAUSIBLE_RADII_PX
        good_rms = min([GOOD_RMS, *(MAX_RMS_SPREAD * o.rms for o in self.objects)])
        fits_well = all(o.rms <= good_rms and low < o.radius < high for o in self.objects)
        return fits_well and self.n_stray_pixels <= MAX_STRAY_PIXELS


@dataclass(frozen=True, slots=True)
class _Place:
    """A region, the pixels to explain, and the shapes worth a closer look, the likeliest first."""

    region: NDArray[np.bool_]
    around: Surroundings
    shapes: list[str]

    def pose(self, shape: str, shrunk_px: float = 0.0) -> Pose:
        return pose_of(shape, self.region, shrunk_px)


def _read_regions(picture: Pixels, background: Pixels, regions: Sequence[NDArray[np.bool_]]) -> _Attempt:
    """An object for each region."""
    everywhere = np.any([np.zeros((FRAME_PX, FRAME_PX), dtype=bool), *regions], axis=0)
    places = tuple(_place(picture, background, region, everywhere & ~region) for region in regions)
    blur = min(BLURS_PX, key=lambda blur: sum(_error_at(place, blur) for place in places))
    read = [_read_object(place, blur) for place in places]
    objects = tuple(o for o, _ in read)
    unexplained = ((picture - background) ** 2).sum(axis=-1)
    for place in places:
        unexplained[place.around.rows, place.around.columns] = 0
    squared = unexplained.sum() + sum(o.rms**2 * len(p.around.rows) for o, p in zip(objects, places, strict=True))
    n_stray_pixels = int((unexplained > (2 * FOREGROUND_DISTANCE) ** 2).sum())
    return _Attempt(objects, places, tuple(fitting for _, fitting in read), float(np.sqrt(squared)), n_stray_pixels)


def _error_at(place: _Place, blur_px: float) -> float:
    """How badly the likeliest shape fits at a blur."""
    shape = place.shapes[0]
    return float(fit(shape, place.pose(shape), place.around, blur_px, corrections=1).errors.min())


def _place(picture: Pixels, background: Pixels, region: NDArray[np.bool_], others: NDArray[np.bool_]) -> _Place:
    around = surroundings(picture, background, region, others)
    rough = {
        shape: min(float(fit(shape, pose_of(shape, region), around, blur).errors.min()) for blur in ROUGH_BLURS_PX)
        for shape in SHAPES
    }
    return _Place(region, around, sorted(SHAPES, key=lambda shape: rough[shape])[:N_SHAPES_TRIED])


def _read_object(place: _Place, blur_px: float) -> tuple[ReadObject, str]:
    """The object as drawings tell it, and the shape that fits best."""
    fits = [_best_fit(shape, place, blur_px) for shape in place.shapes]
    errors = np.stack([f.errors for f in fits])  # [shape, texture, color]
    best = int(errors.min(axis=(1, 2)).argmin())
    pose = fits[best].pose
    rms = float(errors.min())
    o = ReadObject(
        _told("shape", place.shapes, errors.min(axis=(1, 2))),
        _told("color", list(COLORS), errors.min(axis=(0, 1))),
        _told("texture", TEXTURES, errors.min(axis=(0, 2))),
        _size(pose) if rms <= MAX_RMS else None,
        pose.x,
        pose.y,
        pose.radius,
        rms,
    )
    return o, place.shapes[best]


def _best_fit(shape: str, place: _Place, blur_px: float) -> Fit:
    """The fit from the region's own size, or from a smaller one: a blurred rim looks like marks along the rim."""
    first = fit(shape, place.pose(shape), place.around, blur_px, corrections=4)
    if first.errors.min() < FINE_RMS:
        return first
    second = fit(shape, place.pose(shape, shrunk_px=1.0), place.around, blur_px, corrections=4)
    return second if second.errors.min() < first.errors.min() else first


def _told(attribute: str, names: Sequence[str], errors: NDArray[np.float32]) -> str | None:
    """The name with the least error, None where it is large or another's is nearly as small."""
    best, second = np.argsort(errors)[:2]
    clear = errors[second] >= max(errors[best] * MIN_RATIO[attribute], errors[best] + MIN_DIFFERENCE_RMS)
    return names[best] if clear and errors[best] <= MAX_RMS else None


def _completed(picture: Pixels, place: _Place, o: ReadObject, fitting: str) -> ReadObject:
    """The object as drawings tell it, of which the shape `fitting` fits best, completed by evidence or the reverse."""
    if o.rms <= DOUBTFUL_RMS:
        return o
    seen = _told_by_evidence(picture, place, o)
    if o.rms > EXPLAINED_RMS:
        return _joined(seen, o, seen.texture or o.texture)
    # Of shapes between which drawings leave it open, evidence is believed if it is for the one that fits best.
    seen = replace(seen, shape=seen.shape if seen.shape == fitting else None)
    return _joined(o, seen, seen.texture or o.texture if o.rms > FAINT_RMS else o.texture)


def _joined(first: ReadObject, second: ReadObject, texture: str | None) -> ReadObject:
    """The first, and of the second what the first leaves open."""
    shape, color, size = first.shape or second.shape, first.color or second.color, first.size or second.size
    return replace(first, shape=shape, color=color, texture=texture, size=size)


def _told_by_evidence(picture: Pixels, place: _Place, o: ReadObject) -> ReadObject:
    """Each attribute where its own evidence is clear; of the shape only if no drawing of `o` explains it."""
    inner = ndimage.binary_erosion(place.region)
    distances = color_distances(picture[inner if inner.sum() >= MIN_AREA_PX else place.region])
    best, second = (float(distance) for distance in np.sort(distances)[:2])
    color = list(COLORS)[int(distances.argmin())]
    color_told = best <= MAX_COLOR_DISTANCE and second >= best * MIN_COLOR_RATIO
    shape, pose = o.shape, Pose(o.x, o.y, o.radius)
    if shape is None or o.rms > EXPLAINED_RMS:
        likeliest, rival = likely_shapes(place.region, place.around, color)[:2]
        shape, pose = shape_of(place.region, likeliest, rival), likeliest.pose
    return ReadObject(
        shape,
        color if color_told else None,
        texture_of(darkness_of(picture, color), place.region, pose, o.texture if o.rms <= EXPLAINED_RMS else None),
        _size(pose),
        pose.x,
        pose.y,
        pose.radius,
        o.rms,
    )


def _size(pose: Pose) -> str | None:
    return None if abs(pose.radius - SIZE_BORDER_PX) < SIZE_DOUBT_PX else size_of_radius(pose.radius)
