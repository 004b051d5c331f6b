"""The diffusion loss, with diffusers' schedulers and conventions."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline
from diffusers.training_utils import compute_snr
from torch.nn import functional as F


def moments_to_latents(moments: torch.Tensor, noise: torch.Tensor, vae: AutoencoderKL) -> torch.Tensor:
    """A sample of the VAE's posterior, scaled for the UNet: moments `[2C,h,w]`, noise `[C,h,w]` -> `[C,h,w]`."""
    mean, log_variance = moments.chunk(2)
    sample = mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise
    shift = vae.config.get("shift_factor") or 0.0
    scaled: torch.Tensor = (sample - shift) * vae.config.scaling_factor
    return scaled


def diffusion_loss(
    pipeline: DiffusionPipeline,
    scheduler: DDPMScheduler,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    context: torch.Tensor,
    pooled: torch.Tensor | None,
    *,
    snr_gamma: float | None = None,
) -> torch.Tensor:
    """Mean squared error of what the UNet predicts (epsilon, v or sample, as the scheduler's configuration says).

    `scheduler` is the forward process; `latents`, `noise` `[B,C,h,w]`, `timesteps` `[B]`, `context` `[B,T,D]`;
    `pooled` `[B,P]` for SDXL, whose time ids are those of an uncropped square.
    `snr_gamma`: min-SNR weights (arXiv 2303.09556).
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction_type = scheduler.config.prediction_type
    if prediction_type == "epsilon":
        target = noise
    elif prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = latents
    added: dict[str, Any] = {}
    if pooled is not None:
        side = latents.shape[-1] * pipeline.vae_scale_factor
        time_ids = torch.tensor([[side, side, 0, 0, side, side]], dtype=context.dtype, device=context.device)
        added = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids.expand(len(latents), -1)}}
    predicted = pipeline.unet(noisy, timesteps, encoder_hidden_states=context, **added).sample
    losses = F.mse_loss(predicted.float(), target.float(), reduction="none").mean(dim=(1, 2, 3))
    if snr_gamma is not None:
        snr = compute_snr(scheduler, timesteps)
        # The network's error counts as an error of x0 times SNR (epsilon) or times SNR + 1 (v).
        divisor = {"epsilon": snr, "v_prediction": snr + 1}.get(prediction_type, torch.ones_like(snr))
        losses = losses * snr.clamp(max=snr_gamma) / divisor.clamp(min=1e-8)
    return losses.mean()


def noise_scheduler(pipeline: DiffusionPipeline) -> DDPMScheduler:
    """The forward process of a pipeline's scheduler, whatever sampler it draws with."""
    return DDPMScheduler.from_config(pipeline.scheduler.config)
