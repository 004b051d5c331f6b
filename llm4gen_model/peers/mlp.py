"""The least connector: a two-layer network for each of the language model's tokens."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class MLPConnector(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Linear, GELU, Linear: no token sees another, none sees the text tokens.

    With the defaults 2,164,224 parameters, the 2.16M of the ablation in arXiv 2403.05135.
    """

    uses_timestep = False

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, text_dim: int = 768, llm_dim: int = 2048, mask_padding: bool = False, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(llm_dim, text_dim), nn.GELU(), nn.Linear(text_dim, text_dim))

    def forward(
        self,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor,
        scale: float | torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim] -> [B, T + N, text_dim].

        With `mask_padding`, tokens where `llm_mask` [B, N] is False are zeros.
        """
        tokens = self.mlp(llm_embeds)
        if self.config.mask_padding and llm_mask is not None:
            tokens = tokens * llm_mask.unsqueeze(-1)
        return torch.cat([text_embeds, (self.config.scale if scale is None else scale) * tokens], dim=1)

    def token_mask(self, llm_mask: torch.Tensor) -> torch.Tensor:
        """Which tokens stand for real ones [B, N]: one for each of the language model's."""
        return llm_mask
