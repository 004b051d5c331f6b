"""One batch of images from any diffusers text-to-image pipeline, every image with noise of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from llm4gen_model.conditioning import PromptEmbeds, masked_cross_attention
from llm4gen_model.connectors import Connector
from llm4gen_model.timesteps import fused_per_step


def sample_images(
    pipeline: DiffusionPipeline,
    prompt_embeds: PromptEmbeds,
    seeds: Sequence[int],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    guidance_rescale: float = 0.0,
    height: int | None = None,
    width: int | None = None,
    connector: Connector | None = None,
    step_arguments: Mapping[str, Any] | None = None,
) -> list[Image.Image]:
    """One RGB image for each row of `prompt_embeds`, drawn from the noise of its seed.

    Noise comes from one CPU generator an image, so that neither the rest of the batch nor the device changes it.
    The embeds may come from the CPU or be in another float type than the pipeline's. `height` and `width` are
    pixels (None: the pipeline's own). A `connector` that uses the timestep fuses the embeds anew at every step.
    `step_arguments` are those of the pipeline's `callback_on_step_end`.
    """
    unet = pipeline.unet
    with ExitStack() as stack:
        # first, as it knows the embeds by what the pipeline was given
        stack.enter_context(masked_cross_attention(unet, prompt_embeds))
        if connector is not None and connector.uses_timestep:
            stack.enter_context(fused_per_step(pipeline, connector))
        # not every pipeline has it
        rescale = {"guidance_rescale": guidance_rescale} if guidance_rescale else {}
        images: list[Image.Image] = pipeline(
            **{name: embeds.to(unet.device, unet.dtype) for name, embeds in prompt_embeds.as_kwargs().items()},
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            height=height,
            width=width,
            **rescale,
            **(step_arguments or {}),
        ).images
    return images
