"""Non-maximum suppression on plain arrays; torchvision's needs a build that fits the installed torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.metrics.detection import Detection


def suppressed(detections: Sequence[Detection], max_iou: float | None) -> list[Detection]:
    """By falling score, without those that overlap a better one of the same label with an IoU above `max_iou`.

    None keeps all of them. Equal scores stay in their order.
    """
    ordered = sorted(detections, key=lambda detection: -detection.score)
    if max_iou is None or not ordered:
        return ordered
    boxes = np.array([detection.box for detection in ordered])
    labels = np.array([detection.label for detection in ordered])
    alive = np.ones(len(ordered), dtype=bool)
    for i in range(len(ordered)):
        if alive[i]:
            rest = slice(i + 1, None)
            alive[rest] &= ~((labels[rest] == labels[i]) & (_overlaps(boxes[i], boxes[rest]) > max_iou))
    return [detection for detection, stays in zip(ordered, alive, strict=True) if stays]


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box [4] with others [N, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(shared / np.maximum(areas - shared, np.finfo(float).tiny))
