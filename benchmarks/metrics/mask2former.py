"""Mask2Former of the transformers library: objects with their masks, as GenEval looks at pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.clip_encoder import read_settings
from benchmarks.metrics.detection import Detection
from benchmarks.metrics.pretrained import load_image_processor, load_model, model_folder, weights_identity
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Segment(Detection):
    """A detection with its mask: [H, W] of the image, true where the object is."""

    mask: np.ndarray | None = field(default=None, compare=False, repr=False)


class Mask2Former:
    """Objects of the classes that the model was trained on (COCO's 80 for the default) above `threshold`.

    A score is the class's probability times the mask's mean. `model` is a folder or a hub id with safetensors weights
    of a Mask2Former for instances. Raises UserError if there is no such model.
    """

    def __init__(
        self,
        model: str = "facebook/mask2former-swin-small-coco-instance",
        revision: str | None = None,
        threshold: float = 0.3,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.model, self.revision, self.threshold = model, revision, threshold
        self.dtype, self.device = dtype, device
        self.folder = model_folder("mask2former", model, revision, "geneval.detector_options.model")
        self._settings = read_settings(self.folder / "config.json")
        found = self._settings.get("model_type")
        if found != "mask2former":
            raise UserError(f"mask2former: {model}: model_type is {found!r}, expected 'mask2former'")

    @property
    def classes(self) -> list[str]:
        """The names of what it can find."""
        return list(self._settings.get("id2label", {}).values())

    def identity(self) -> dict[str, Any]:
        """Weights by sha256; GenEval's own runs in mmdet, with another resize."""
        return {
            "detector": "mask2former",
            "version": 1,
            "comparable_with_unidet": False,
            **weights_identity(self.model, self.revision, self.folder),
            "threshold": self.threshold,
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def detect(self, images: Sequence[Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """All objects of known classes by falling score; `words` are not needed."""
        found: list[list[Detection]] = []
        for image in images:  # one at a time: masks of many pictures of any size would fill the memory
            found.append(self._detect(image))
        return found

    def _detect(self, image: Image) -> list[Detection]:
        import numpy as np
        import torch

        inputs = self._processor(images=[image], return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        outputs.class_queries_logits = outputs.class_queries_logits.float()
        outputs.masks_queries_logits = outputs.masks_queries_logits.float()
        (result,) = self._processor.post_process_instance_segmentation(
            outputs,
            threshold=self.threshold,
            target_sizes=[(image.height, image.width)],
            return_binary_maps=True,
        )
        segments: list[Detection] = []
        for mask, info in zip(result["segmentation"], result["segments_info"], strict=True):
            own = np.asarray(mask.cpu()) > 0
            ys, xs = np.nonzero(own)
            if len(ys) == 0:
                continue
            box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
            label = str(self._model.config.id2label[info["label_id"]])
            segments.append(Segment(label, box, float(info["score"]), own))
        return sorted(segments, key=lambda segment: -segment.score)

    @cached_property
    def _processor(self) -> Any:
        return load_image_processor("mask2former", self.folder)

    @cached_property
    def _model(self) -> Any:
        return load_model("mask2former", "Mask2FormerForUniversalSegmentation", self.folder, self.dtype, self.device)
