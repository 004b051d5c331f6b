"""A plain resampler in the CAM's socket: ELLA's ablation without the timestep."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from llm4gen_model.peers.perceiver import PerceiverResampler


class ResamplerConnector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """`num_latents` learned tokens that look at the features in `num_layers` blocks.

    With the defaults 44,159,232 parameters, with one block 8,712,192: the 44.16M and 8.71M of the ablation in
    arXiv 2403.05135. Raises UserError if `num_heads` does not divide `text_dim`.
    """

    uses_timestep = False
    _skip_layerwise_casting_patterns = ("norm",)

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
        self.resampler = PerceiverResampler(text_dim, llm_dim, num_layers, num_heads, num_latents)

    def forward(
        self,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor,
        scale: float | torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim] -> [B, T + num_latents, text_dim].

        With `mask_padding`, latents do not look at features where `llm_mask` [B, N] is False.
        """
        latents = self.resampler(llm_embeds, llm_mask if self.config.mask_padding else None)
        return torch.cat([text_embeds, (self.config.scale if scale is None else scale) * latents], dim=1)

    def token_mask(self, llm_mask: torch.Tensor) -> torch.Tensor:
        """All True [B, num_latents]: a latent has looked at all real tokens, whichever they are."""
        return llm_mask.new_ones(len(llm_mask), self.config.num_latents)
