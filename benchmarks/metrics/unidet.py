"""Detectors and depth models of the user's own interpreter: UniDet, whose packages go with nothing, or any other."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL.Image import Image

from benchmarks.metrics.detection import Detection
from benchmarks.metrics.external import ExternalProgram, save_pictures
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    import numpy as np

PROTOCOL_VERSION = 1
WEIGHTS = {
    "RS200": "Unified_learned_OCIM_RS200_6x+2x.pth (https://huggingface.co/shikunl/prismer, expert_weights/)",
    "R50": "Unified_learned_OCIM_R50_6x+2x.pth (link in the README of https://github.com/Karine-Huang/T2I-CompBench)",
}
SCORE_THRESHOLD = 0.1  # what UniDet uses whatever its configuration says


class ExternalDetector:
    """A detector behind a command. `options` are sent with its greeting; it answers with what identifies it."""

    def __init__(
        self, command: str, timeout_s: float = 600, comparable_with_unidet: bool = False, **options: Any
    ) -> None:
        self.program = ExternalProgram("detector", command, timeout_s)
        self.comparable, self.options = comparable_with_unidet, options

    def identity(self) -> dict[str, Any]:
        """What the program says of itself, and what it was told; starts it."""
        told = {"detector": "external", "version": PROTOCOL_VERSION, "comparable_with_unidet": self.comparable}
        return told | self.options | {"program": self._program}

    def detect(self, images: Sequence[Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """As `Detector.detect`. Raises UserError if the program fails, or answers what is no list of detections."""
        _ = self._program
        with tempfile.TemporaryDirectory(prefix="llm4gen-") as folder:
            paths = save_pictures(images, Path(folder))
            answer = self.program.ask({"request": "detect", "images": paths, "words": [list(own) for own in words]})
        found = answer.get("detections")
        if not isinstance(found, list) or len(found) != len(images):
            raise UserError(f"detector: {self.program.command!r}: expected a list of detections for each picture")
        return [[self._detection(row) for row in own] for own in found]

    def _detection(self, row: Any) -> Detection:
        try:
            label, score = row["label"], float(row["score"])
            x1, y1, x2, y2 = (float(value) for value in row["box"])
            if isinstance(label, str) and all(map(math.isfinite, (x1, y1, x2, y2, score))) and x1 <= x2 and y1 <= y2:
                return Detection(label, (x1, y1, x2, y2), score)
        except (KeyError, TypeError, ValueError):
            pass
        raise UserError(
            f"detector: {self.program.command!r}: {str(row)[:200]} is no detection; "
            'expected {"label": text, "box": [x1, y1, x2, y2] in pixels, "score": number}'
        )

    @cached_property
    def _program(self) -> Any:
        return _greet(self.program, "detector", self.options)


class ExternalDepth:
    """A depth model behind a command, which leaves an .npy file of [H, W] from 0 (far) to 1 (near) a picture."""

    def __init__(self, command: str, timeout_s: float = 600, **options: Any) -> None:
        self.program, self.options = ExternalProgram("depth model", command, timeout_s), options

    def identity(self) -> dict[str, Any]:
        """What the program says of itself, and what it was told; starts it."""
        return {"depth": "external", "version": PROTOCOL_VERSION} | self.options | {"program": self._program}

    def estimate(self, images: Sequence[Image]) -> list[np.ndarray]:
        """As `Depth.estimate`. Raises UserError if the program fails or leaves no such file."""
        import numpy as np

        _ = self._program
        depths = []
        with tempfile.TemporaryDirectory(prefix="llm4gen-") as folder:
            paths = save_pictures(images, Path(folder))
            wanted = [str(Path(path).with_suffix(".npy")) for path in paths]
            self.program.ask({"request": "estimate", "images": paths, "write": wanted})
            for image, path in zip(images, wanted, strict=True):
                try:
                    depth = np.load(path, allow_pickle=False)
                except (OSError, ValueError, EOFError) as error:
                    raise UserError(f"depth model: {self.program.command!r} left no .npy file: {error}") from error
                sound = depth.shape == (image.height, image.width) and depth.dtype.kind == "f"
                if not sound or not (depth.min() >= 0 and depth.max() <= 1):  # NaN fails here as well
                    raise UserError(
                        f"depth model: {self.program.command!r} left {depth.dtype} of shape {depth.shape}, "
                        f"expected numbers from 0 to 1 of shape {(image.height, image.width)}"
                    )
                depths.append(depth.astype(np.float32))
        return depths

    @cached_property
    def _program(self) -> Any:
        return _greet(self.program, "depth", self.options)


def unidet(
    backbone: Literal["RS200", "R50"],
    protocol: Literal["official", "fixed"],
    command: str = "",
    timeout_s: float = 600,
) -> ExternalDetector:
    """UniDet in an interpreter of the user's. Raises UserError, with what it takes, if no `command` is given.

    `official` shows RS200 its channels in the wrong order, as the original does; R50 is right in both.
    """
    if not command:
        raise UserError(
            f"unidet: no program to run {WEIGHTS[backbone]} with: expected --set "
            "t2i_compbench.detector_options.command='PYTHON SCRIPT' (docs/metrics.md, External detectors), or another "
            "detector, whose scores do not compare with published ones: --set t2i_compbench.detector=owlv2"
        )
    order = "BGR" if backbone == "R50" or protocol == "official" else "RGB"
    told = {"backbone": backbone, "protocol": protocol, "channel_order": order, "score_threshold": SCORE_THRESHOLD}
    return ExternalDetector(command, timeout_s, comparable_with_unidet=True, **told)


def _greet(program: ExternalProgram, kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    answer = program.ask({"request": "identity", "protocol_version": PROTOCOL_VERSION, "kind": kind, **options})
    identity = answer.get("identity")
    if not isinstance(identity, dict) or not identity:
        raise UserError(f'{kind}: {program.command!r}: expected {{"identity": {{...}}}} with its weights\' sha256')
    return identity
