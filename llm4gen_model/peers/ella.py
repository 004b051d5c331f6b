"""ELLA's timestep-aware semantic connector, in the CAM's socket."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

from llm4gen_data.errors import UserError
from llm4gen_model.peers.perceiver import PerceiverResampler

TIME_CHANNELS = 320  # SD's sinusoids


class TimestepAwareSemanticConnector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A resampler whose norms are modulated by the timestep: early steps read layout, late ones details.

    With the defaults 66,820,608 parameters, the 66.82M of the paper's ablation. The paper puts its latents in place
    of the CLIP tokens; here they stand behind them, as its authors recommend for trigger words (77 + 64 tokens).
    The condition has to be made anew at every denoising step: `llm4gen_model.timesteps`. Written after the paper's
    description, so its key names are ours. Source: arXiv 2403.05135, section 3.1 and tables 5 and 6.
    Raises UserError if `num_heads` does not divide `text_dim`.
    """

    uses_timestep = True
    _skip_layerwise_casting_patterns = ("norm", "time_embedding")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        text_dim: int = 768,
        llm_dim: int = 2048,
        num_layers: int = 6,
        num_heads: int = 8,
        num_latents: int = 64,
        mask_padding: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.time_sinusoids = Timesteps(TIME_CHANNELS, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(TIME_CHANNELS, text_dim)
        self.resampler = PerceiverResampler(text_dim, llm_dim, num_layers, num_heads, num_latents, time_dim=text_dim)

    def forward(
        self,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor,
        scale: float | torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim] -> [B, T + num_latents, text_dim].

        `timestep` [B] or a single one, in the scheduler's units (0 to 999 as a rule). With `mask_padding`, latents
        do not look at features where `llm_mask` [B, N] is False. Raises UserError where `timestep` is missing.
        """
        if timestep is None:
            raise UserError(f"{type(self).__name__} needs a timestep: its condition changes at every denoising step")
        sinusoids = self.time_sinusoids(timestep.expand(len(llm_embeds))).to(llm_embeds.dtype)
        mask = llm_mask if self.config.mask_padding else None
        latents = self.resampler(llm_embeds, mask, self.time_embedding(sinusoids))
        return torch.cat([text_embeds, (self.config.scale if scale is None else scale) * latents], dim=1)

    def token_mask(self, llm_mask: torch.Tensor) -> torch.Tensor:
        """All True [B, num_latents]: a latent has looked at all real tokens, whichever they are."""
        return llm_mask.new_ones(len(llm_mask), self.config.num_latents)
