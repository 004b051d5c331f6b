"""Image encoders that metrics share: a batch of pictures passes through each of them once, for all who use it.

A metric that works on an encoder's features names it in `uses` and takes them as `features` in `score`. What was
encoded once is kept in the run's feature cache: a metric that is added later costs only its head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from llm4gen_data.registry import resolve
from llm4gen_data.runs import fingerprint_hash

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from benchmarks.feature_cache import FeatureCache

ENCODERS = {
    "clip": "benchmarks.metrics.clip_encoder:ClipEncoder",
    "open_clip": "benchmarks.metrics.open_clip:OpenClipEncoder",
    "inception-clean": "benchmarks.metrics.inception:CleanInception",
    "inception-torch-fidelity": "benchmarks.metrics.inception:TorchFidelityInception",
    "inception-torchmetrics": "benchmarks.metrics.inception:TorchmetricsInception",
}
N_LOADED = 4  # models kept in memory by `load_encoder`


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Which encoder: an entry of ENCODERS or a `module:attribute`, and the keywords that it is made of.

    `model` is a bundled model, a folder, a hub id or a file of weights, `processor` where tokenizer and preprocessing
    come from if not from there; `dtype` float32, bfloat16 or float16.
    """

    encoder: str
    model: str
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    processor: str | None = None


Features = Mapping[EncoderSpec, "np.ndarray"]


class Encoder(Protocol):
    """Turns pictures into vectors; made from the fields of an EncoderSpec. Weights are loaded by the first picture."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes a feature: encoder, weights' sha256, preprocessing, dtype; plain JSON data."""
        ...

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        """Features [B, D] of upright RGB images, as the model gives them, in float32 or float16."""
        ...


@lru_cache(maxsize=N_LOADED)
def load_encoder(spec: EncoderSpec) -> Any:
    """The encoder `spec`, the same object for all who ask. Raises UsageError for an unknown one, UserError for a model
    that cannot be used."""
    made = resolve("encoder", spec.encoder, ENCODERS)
    return made(spec.model, spec.revision, spec.dtype, spec.device, spec.processor)


def encode(
    specs: Sequence[EncoderSpec], images: Sequence[Image], cache: FeatureCache | None = None
) -> dict[EncoderSpec, np.ndarray]:
    """Features [B, D] of the images by each encoder, from the cache where it holds all of them.

    A batch that the cache holds in part is encoded whole: a feature's last bits depend on the size of its batch.
    """
    if cache is None:
        return {spec: load_encoder(spec).encode(images) for spec in specs}
    features = {}
    pixels = [pixels_sha256(image) for image in images] if specs else []
    for spec in specs:
        encoder = load_encoder(spec)
        key = fingerprint_hash(encoder.identity())
        known = cache.get(key, pixels)
        if known is None:
            known = encoder.encode(images)
            cache.put(key, pixels, known)
        features[spec] = known
    return features


def rows_of(features: Features, numbers: Sequence[int]) -> Features:
    """The features of the pictures with these places."""
    return {spec: rows[list(numbers)] for spec, rows in features.items()}


def pixels_sha256(image: Image) -> str:
    """The sha256 of mode, size and pixels, whatever file they came from."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
