"""What a detector and a depth model are to the metrics, and the tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# "unidet" is made with `backbone` ("RS200" or "R50") and `protocol`: in "official" RS200 is shown its channels in the
# wrong order, as the original does.
DETECTORS = {
    "unidet": "benchmarks.metrics.unidet:unidet",
    "external": "benchmarks.metrics.unidet:ExternalDetector",
    "owlv2": "benchmarks.metrics.detectors:owlv2",
    "grounding_dino": "benchmarks.metrics.detectors:grounding_dino",
    "detr": "benchmarks.metrics.detectors:detr",
    "rt_detr": "benchmarks.metrics.detectors:rt_detr",
    "mask2former": "benchmarks.metrics.mask2former:Mask2Former",
    "transformers": "benchmarks.metrics.detectors:TransformersDetector",
}
DEPTHS = {
    "dpt": "benchmarks.metrics.depth:dpt",
    "external": "benchmarks.metrics.unidet:ExternalDepth",
    "depth_anything": "benchmarks.metrics.depth:depth_anything",
    "transformers": "benchmarks.metrics.depth:TransformersDepth",
}


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: the detector's own name for it, its box (x1, y1, x2, y2) in pixels of the image, 0 to 1."""

    label: str
    box: tuple[float, float, float, float]
    score: float


class Detector(Protocol):
    """Finds objects; made from its options as keywords. Weights are loaded by the first `detect`."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes a detection; `comparable_with_unidet` says whether published scores compare."""
        ...

    def detect(self, images: Sequence[Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """The objects in each RGB image by falling score.

        `words` are what is looked for in each image: an open-vocabulary detector asks for them, one with classes of
        its own finds what it knows.
        """
        ...


class Depth(Protocol):
    """Estimates depth; made from its options as keywords. Weights are loaded by the first `estimate`."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes an estimate."""
        ...

    def estimate(self, images: Sequence[Image]) -> list[np.ndarray]:
        """For each RGB image [H, W] of its own size, from 0, the farthest point, to 1, the nearest."""
        ...


def load_detector(name: str, options: Mapping[str, Any]) -> Detector:
    """The detector `name`, an entry of DETECTORS or a `module:attribute`. Raises UsageError for an unknown name."""
    detector: Detector = resolve("detector", name, DETECTORS)(**options)
    return detector


def load_depth(name: str, options: Mapping[str, Any]) -> Depth:
    """The depth model `name`, an entry of DEPTHS or a `module:attribute`. Raises UsageError for an unknown name."""
    depth: Depth = resolve("depth model", name, DEPTHS)(**options)
    return depth
