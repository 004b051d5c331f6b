"""One batch of images from any diffusers text-to-image pipeline, every image with noise of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from llm4gen_model.conditioning import PromptEmbeds


def sample_images(
    pipeline: DiffusionPipeline,
    prompt_embeds: PromptEmbeds,
    seeds: Sequence[int],
    *,
    num_inference_steps: int,
    guidance_scale: float,
) -> list[Image.Image]:
    """One RGB image for each row of `prompt_embeds`, drawn from the noise of its seed.

    Noise comes from one CPU generator an image, so that neither the rest of the batch nor the device changes it.
    The embeds may come from the CPU or be in another float type than the pipeline's.
    """
    unet = pipeline.unet
    images: list[Image.Image] = pipeline(
        **{name: embeds.to(unet.device, unet.dtype) for name, embeds in prompt_embeds.as_kwargs().items()},
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    ).images
    return images
