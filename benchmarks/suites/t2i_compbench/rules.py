"""T2I-CompBench's scores as pure functions over numbers: `official` fault for fault, `fixed` with the faults mended.

Boxes are (x1, y1, x2, y2) in pixels of the 479-pixel frame (shorter side 479, longer side at most 480); None stands
for what was not found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from benchmarks.suites.t2i_compbench.labels import ALIASES, is_same_thing
from llm4gen_data.errors import UserError

Mode: TypeAlias = Literal["official", "fixed"]
Kind: TypeAlias = Literal["spatial", "action", "spatialaction"]
Box: TypeAlias = tuple[float, float, float, float]

NEAR_PX = 150.0
APART_IOU = 0.1
BEFORE_IOU = 0.5
SPATIAL_CUT = 0.5
DUPLICATE_OVERLAP = 0.9
MAX_PHRASES = 8
# 3-in-1: which scores are averaged for a prompt of each kind.
PARTS: dict[Kind, tuple[str, ...]] = {
    "spatial": ("attribute", "spatial"),
    "action": ("attribute", "clip"),
    "spatialaction": ("attribute", "spatial", "clip"),
}
ON_THE_TOP_OF, ON_TOP_OF = "on the top of", "on top of"


def spatial_2d_score(
    relation: str | None,
    box_a: Box | None,
    box_b: Box | None,
    score_a: float | None,
    score_b: float | None,
    protocol: Mode = "official",
) -> float:
    """Whether both objects are there and stand as `relation` says, 0 to 1; below 0.5 becomes 0.

    In `official`, "on top of" and no relation earn nothing; in `fixed`, "on top of" is "on the top of".
    """
    if box_a is None or box_b is None:
        found = score_a if box_a is not None else score_b if box_b is not None else 0.0
        score = 0.25 * (found or 0.0)
    else:
        position = position_2d(relation, box_a, box_b, protocol)
        score = 0.25 * (score_a or 0.0) + 0.25 * (score_b or 0.0) + 0.5 * position
    return 0.0 if score < SPATIAL_CUT else score


def position_2d(relation: str | None, box_a: Box, box_b: Box, protocol: Mode = "official") -> float:
    """How far two boxes stand as `relation` says, 0 to 1."""
    if protocol == "fixed" and relation == ON_TOP_OF:
        relation = ON_THE_TOP_OF
    dx = (box_b[0] + box_b[2]) / 2 - (box_a[0] + box_a[2]) / 2
    dy = (box_b[1] + box_b[3]) / 2 - (box_a[1] + box_a[3]) / 2
    if relation in ("next to", "on side of", "near"):
        if abs(dx) < NEAR_PX or abs(dy) < NEAR_PX:
            return 1.0
        return NEAR_PX / max(abs(dx), abs(dy))
    holds = {
        "on the right of": dx < 0 and abs(dx) > abs(dy),
        "on the left of": dx > 0 and abs(dx) > abs(dy),
        "on the bottom of": dy < 0 and abs(dy) > abs(dx),
        ON_THE_TOP_OF: dy > 0 and abs(dy) > abs(dx),
    }
    if relation is None or not holds.get(relation, False):
        return 0.0
    overlap = iou(box_a, box_b)
    return 1.0 if overlap < APART_IOU else APART_IOU / overlap


def spatial_3d_score(
    relation: str | None,
    box_a: Box | None,
    box_b: Box | None,
    score_a: float | None,
    score_b: float | None,
    depth: np.ndarray | None,
    protocol: Mode = "official",
) -> float:
    """Whether both objects are there, one before the other as `relation` says, 0 to 1.

    `depth` is [H, W] in 0-1, larger is nearer, in the frame of the boxes. The position earns only where the boxes
    overlap. `official` reads the depth with x and y exchanged, and gives nothing at an IoU of exactly 0.5.
    """
    if box_a is None or box_b is None:
        found = score_a if box_a is not None else score_b if box_b is not None else 0.0
        return 0.25 * (found or 0.0)
    position = 0.0 if depth is None else position_3d(relation, box_a, box_b, depth, protocol)
    return 0.25 * (score_a or 0.0) + 0.25 * (score_b or 0.0) + 0.5 * position


def position_3d(relation: str | None, box_a: Box, box_b: Box, depth: np.ndarray, protocol: Mode = "official") -> float:
    """How far the first box lies before or behind the second as `relation` says, 0 to 1."""
    nearer = _mean_depth(box_a, depth, protocol) - _mean_depth(box_b, depth, protocol)
    holds = nearer > 0 if relation == "in front of" else relation in ("behind", "hidden") and nearer < 0
    if not holds:
        return 0.0
    overlap = iou(box_a, box_b)
    if overlap > BEFORE_IOU:
        return 1.0
    if overlap == BEFORE_IOU:
        return 0.0 if protocol == "official" else 1.0
    return overlap / BEFORE_IOU


def numeracy_score(
    expected: Mapping[str, int], detections: Sequence[tuple[str, Box, float]], protocol: Mode = "official"
) -> float:
    """Half of each object's share for being there, half for being there as often as `expected` (name -> count).

    In `official` a name that no detection has takes over every label that contains it ("car" takes "carrot"), for
    the objects after it as well, and "a boy and a girl" asks twice for one person. In `fixed` labels are matched as
    things, with synonyms, and expected counts of the same thing are added up. Raises UserError if nothing is expected.
    """
    if not expected:
        raise UserError("numeracy: the prompt asks for no number of anything, expected at least one object")
    labels = [label for label, _, _ in without_duplicates(detections)]
    wanted = [(ALIASES.get(name, name), count) for name, count in expected.items()]
    if protocol == "fixed":
        added: dict[str, int] = {}
        for name, count in wanted:
            added[name] = added.get(name, 0) + count
        counted = [(sum(is_same_thing(name, label) for label in labels), count) for name, count in added.items()]
    else:
        counted = []
        for name, count in wanted:
            if name not in labels:
                labels = [name if name in label else label for label in labels]
            counted.append((labels.count(name), count))
    share = 1 / len(counted)
    return sum(0.5 * share * (n > 0) + 0.5 * share * (n == count) for n, count in counted)


def without_duplicates(detections: Sequence[tuple[str, Box, float]]) -> list[tuple[str, Box, float]]:
    """Detections by falling score, without those that nearly cover, or lie in, a better one of the same label."""
    kept: list[tuple[str, Box, float]] = []
    for label, box, score in sorted(detections, key=lambda detection: -detection[2]):
        if not any(label == other and _nearly_same(box, known) for other, known, _ in kept):
            kept.append((label, box, score))
    return kept


def blip_vqa_aggregate(phrase_scores: Sequence[float | None], protocol: Mode = "official") -> float:
    """The product of the phrases' probabilities of "yes"; None counts 1.

    `official` uses eight phrases, rounds each and the product to 4 decimals, multiplies in float32, and gives 1.0
    where there is no phrase. `fixed` multiplies all as they are and raises UserError where there is none.
    """
    if protocol == "fixed":
        known = [score for score in phrase_scores if score is not None]
        if not known:
            raise UserError("BLIP-VQA: the prompt has no noun phrase to ask for")
        return math.prod(known)
    product = np.float32(1)
    for score in phrase_scores[:MAX_PHRASES]:
        if score is not None:
            product *= np.float32(f"{score:.4f}")
    return float(f"{product:.4f}")


def three_in_one(
    kind: Kind, attribute: float | None, spatial: float | None, clip: float | None, protocol: Mode = "official"
) -> float:
    """The mean of the scores that the prompt's kind calls for; equal in both modes.

    Raises UserError for a missing score or an unknown kind.
    """
    if kind not in PARTS:
        raise UserError(f"3-in-1: kind {kind!r}, expected one of {', '.join(PARTS)}")
    given = {"attribute": attribute, "spatial": spatial, "clip": clip}
    values = [value for name in PARTS[kind] if (value := given[name]) is not None]
    if len(values) < len(PARTS[kind]):
        missing = [name for name in PARTS[kind] if given[name] is None]
        raise UserError(f"3-in-1: no {' and no '.join(missing)} score for a prompt of kind {kind!r}")
    return sum(values) / len(values)


def three_in_one_by_position(
    kinds: Sequence[Kind],
    attribute: Sequence[float],
    spatial: Sequence[float],
    clip: Sequence[float],
    images_per_prompt: int = 10,
    protocol: Mode = "official",
) -> list[float]:
    """3-in-1 over three lists of scores that run over the prompts (`kinds`), `images_per_prompt` of each.

    Raises UserError for too few scores and, in `fixed`, for too many, which `official` silently leaves out.
    """
    n = len(kinds) * images_per_prompt
    for name, scores in (("attribute", attribute), ("spatial", spatial), ("clip", clip)):
        if len(scores) < n or (protocol == "fixed" and len(scores) > n):
            raise UserError(f"3-in-1: {len(scores)} {name} scores, expected {n}: {images_per_prompt} a prompt")
    return [three_in_one(kinds[i // images_per_prompt], attribute[i], spatial[i], clip[i], protocol) for i in range(n)]


def iou(box_a: Box, box_b: Box) -> float:
    """Intersection over union of two boxes; 0 where both are empty."""
    shared = _intersection(box_a, box_b, 0.0)
    union = _area(box_a, 0.0) + _area(box_b, 0.0) - shared
    return shared / union if union > 0 else 0.0


def _nearly_same(box_a: Box, box_b: Box) -> bool:
    """IoU, or the share of either box that they have in common, over 0.9; the shares decide, IoU is never larger."""
    # "+1": a box from pixel 3 to pixel 3 is one pixel wide
    return _intersection(box_a, box_b, 1.0) / min(_area(box_a, 1.0), _area(box_b, 1.0)) > DUPLICATE_OVERLAP


def _intersection(box_a: Box, box_b: Box, pixel: float) -> float:
    width = min(box_a[2], box_b[2]) - max(box_a[0], box_b[0]) + pixel
    height = min(box_a[3], box_b[3]) - max(box_a[1], box_b[1]) + pixel
    return max(0.0, width) * max(0.0, height)


def _area(box: Box, pixel: float) -> float:
    """Of the box; `pixel` 1.0 counts its last row and column as well."""
    return (box[2] - box[0] + pixel) * (box[3] - box[1] + pixel)


def _mean_depth(box: Box, depth: np.ndarray, protocol: Mode) -> float:
    x1, y1, x2, y2 = (int(value) for value in box)
    inside = depth[x1:x2, y1:y2] if protocol == "official" else depth[y1:y2, x1:x2]
    return float(inside.mean()) if inside.size else math.nan
