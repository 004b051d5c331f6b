"""The diffusion loss, with diffusers' schedulers and conventions."""

from __future__ import annotations

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
    scheduler: DDPMScheduler,
    predicted: torch.Tensor,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    *,
    snr_gamma: float | None = None,
) -> torch.Tensor:
    """Squared error `[B]` of what the UNet predicts: epsilon, v or sample, as the scheduler's configuration says.

    `scheduler` is the forward process; `predicted`, `latents`, `noise` `[B,C,h,w]`, `timesteps` `[B]`.
    `snr_gamma`: min-SNR weights (arXiv 2303.09556).
    """
    prediction_type = scheduler.config.prediction_type
    if prediction_type == "epsilon":
        target = noise
    elif prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = latents
    losses = F.mse_loss(predicted.float(), target.float(), reduction="none").mean(dim=(1, 2, 3))
    if snr_gamma is not None:
        snr = compute_snr(scheduler, timesteps)
        # The network's error counts as an error of x0 times SNR (epsilon) or times SNR + 1 (v).
        divisor = {"epsilon": snr, "v_prediction": snr + 1}.get(prediction_type, torch.ones_like(snr))
        losses = losses * snr.clamp(max=snr_gamma) / divisor.clamp(min=1e-8)
    return losses


def added_conditions(
    pipeline: DiffusionPipeline,
    pooled: torch.Tensor | None,
    latents: torch.Tensor,
    time_ids: torch.Tensor | None = None,
) -> dict[str, torch.Tensor] | None:
    """SDXL's `added_cond_kwargs` from `pooled` `[B,P]` and `time_ids` `[B,6]`; None for SD1.5.

    Without `time_ids`, those of uncropped pictures.
    """
    if pooled is None:
        return None
    if time_ids is not None:
        return {"text_embeds": pooled, "time_ids": time_ids.to(pooled.dtype)}
    height, width = (side * pipeline.vae_scale_factor for side in latents.shape[-2:])
    time_ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=pooled.dtype, device=pooled.device)
    return {"text_embeds": pooled, "time_ids": time_ids.expand(len(latents), -1)}


def noise_scheduler(pipeline: DiffusionPipeline) -> DDPMScheduler:
    """The forward process of a pipeline's scheduler, whatever sampler it draws with."""
    return DDPMScheduler.from_config(pipeline.scheduler.config)
