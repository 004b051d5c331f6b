"""What the frozen encoders are given and how: images brought to size, texts by length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageOps

from llm4gen_data.recaption.prepare import prepare
from llm4gen_data.sources.images import MAX_DECODED_PIXELS
from llm4gen_model.training.buckets import Size, nearest_size

MAX_IMAGES_AT_ONCE = 32
# The encoder's activations take about 2 GB a megapixel in float32.
MAX_PIXELS_AT_ONCE = 2**21
PREPROCESSING = "upright, shorter side by LANCZOS, centre crop"


def fitted(data: bytes, sizes: Sequence[Size]) -> tuple[Image.Image, Size]:
    """The encoded image as RGB of that one of `sizes` whose aspect ratio is nearest; and its own height and width.

    It is made upright, scaled to cover that size (LANCZOS), its middle cut out. Raises ImageError if it cannot be
    decoded.
    """
    prepared = prepare(data, max_pixels=MAX_DECODED_PIXELS)
    size = (prepared.height, prepared.width)
    height, width = nearest_size(size, sizes)
    return ImageOps.fit(prepared.image, (width, height), Image.Resampling.LANCZOS), size


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: Sequence[Image.Image]) -> list[torch.Tensor]:
    """The VAE's moments `[2C,h,w]` (mean, log variance) of images of one size, in the VAE's type, on its device."""
    height, width = images[0].height, images[0].width
    at_once = max(1, min(MAX_IMAGES_AT_ONCE, MAX_PIXELS_AT_ONCE // (height * width)))
    moments: list[torch.Tensor] = []
    for start in range(0, len(images), at_once):
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images[start : start + at_once]]))
        pixels = pixels.to(vae.device).permute(0, 3, 1, 2).to(vae.dtype)
        moments += vae.encode(pixels / 127.5 - 1).latent_dist.parameters
    return moments


def text_key(text: str) -> str:
    """The key of a text: its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()
