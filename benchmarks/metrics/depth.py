"""Depth models of the transformers library (DPT, Depth Anything, GLPN, ZoeDepth): nearness of each pixel, 0 to 1."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image, Resampling

from benchmarks.metrics.pretrained import (
    load_image_processor,
    load_model,
    model_folder,
    model_type,
    weights_identity,
)
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    import numpy as np

# These estimate a distance, the others an inverse one, which grows towards the viewer.
METRIC_MODELS = frozenset(("glpn", "zoedepth"))
# T2I-CompBench's preprocessing, whatever the model's own is.
SQUARE = {
    "resample": Resampling.BILINEAR,
    "keep_aspect_ratio": False,
    "ensure_multiple_of": 1,
    "do_pad": False,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
MAX_IMAGES_AT_ONCE = 8


class TransformersDepth:
    """Nearness by a transformers depth model, scaled to 0 (the farthest point of the picture) to 1 (the nearest).

    `model` is a folder or a hub id with safetensors weights. The estimate is brought to the picture's size
    bilinearly with aligned corners, as T2I-CompBench does it. A picture without depth is 0 everywhere. With `size_px`
    the model sees a square of that side, not what its own preprocessing makes. `distance`: whether larger is farther
    (None: by the model's type).

    Raises UserError if there is no such model.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        distance: bool | None = None,
        size_px: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.model, self.revision, self.dtype, self.device = model, revision, dtype, device
        self.folder = model_folder("depth model", model, revision, "t2i_compbench.depth_options.model")
        self.model_type = model_type("depth model", self.folder)
        self.size_px = size_px
        self.distance = self._estimates_distance() if distance is None else distance

    def identity(self) -> dict[str, Any]:
        """Weights by sha256, direction, dtype. Published scores are of DPT-Hybrid's original weights."""
        return {
            "depth": "transformers",
            "version": 1,
            "comparable_with_unidet": False,
            "model_type": self.model_type,
            **weights_identity(self.model, self.revision, self.folder),
            "estimates": "distance" if self.distance else "inverse distance",
            "input": f"{self.size_px} x {self.size_px} px, bilinear, -1 to 1" if self.size_px else "the model's own",
            "resize": "bilinear, aligned corners",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def estimate(self, images: Sequence[Image]) -> list[np.ndarray]:
        """As `Depth.estimate`: for each image [H, W] float32."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_size[image.size].append(i)
        depths: dict[int, np.ndarray] = {}
        for members in by_size.values():
            for start in range(0, len(members), MAX_IMAGES_AT_ONCE):
                part = members[start : start + MAX_IMAGES_AT_ONCE]
                depths.update(zip(part, self._of_one_size([images[i] for i in part]), strict=True))
        return [depths[i] for i in range(len(images))]

    def _of_one_size(self, images: Sequence[Image]) -> list[np.ndarray]:
        import torch

        processor, model = self._loaded
        square = {"size": {"height": self.size_px, "width": self.size_px}, **SQUARE} if self.size_px else {}
        pixels = processor(images=list(images), return_tensors="pt", **square)["pixel_values"]
        with torch.inference_mode():
            raw = model(pixels.to(model.device, model.dtype)).predicted_depth.float()
            size = (images[0].height, images[0].width)
            depth = torch.nn.functional.interpolate(raw[:, None], size, mode="bilinear", align_corners=True)[:, 0]
            nearness = -depth if self.distance else depth
            low = nearness.amin(dim=(1, 2), keepdim=True)
            span = nearness.amax(dim=(1, 2), keepdim=True) - low
            scaled = torch.where(span > 0, (nearness - low) / span, 0)
        return [own.cpu().numpy() for own in scaled]

    def _estimates_distance(self) -> bool:
        if self.model_type != "depth_anything":
            return self.model_type in METRIC_MODELS
        import json

        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        return bool(config.get("depth_estimation_type") == "metric")

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        model = load_model("depth model", "AutoModelForDepthEstimation", self.folder, self.dtype, self.device)
        if self.size_px:
            patch_px = getattr(model.config, "patch_size", None) or 1
            if self.size_px % patch_px:
                raise UserError(f"depth model: size_px {self.size_px}, expected a multiple of {patch_px}")
            # DPT-Hybrid refuses other sizes than its own, though it fits its positions to any.
            for module in model.modules():
                if hasattr(module, "_resize_pos_embed") and hasattr(module, "image_size"):
                    module.image_size = (self.size_px, self.size_px)
        return load_image_processor("depth model", self.folder), model


def dpt(model: str = "Intel/dpt-hybrid-midas", size_px: int | None = 480, **options: Any) -> TransformersDepth:
    """DPT-Hybrid, the network of T2I-CompBench, shown 480 x 480 px in -1 to 1 as there."""
    return TransformersDepth(model, size_px=size_px, **options)


def depth_anything(model: str = "depth-anything/Depth-Anything-V2-Small-hf", **options: Any) -> TransformersDepth:
    """Depth Anything V2, small."""
    return TransformersDepth(model, **options)
