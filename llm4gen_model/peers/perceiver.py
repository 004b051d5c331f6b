"""A Perceiver resampler, plain or modulated by the timestep: learned latents look at a language model's features."""

from __future__ import annotations

import torch
from diffusers.models.normalization import AdaLayerNorm
from torch import nn
from transformers.activations import ReLUSquaredActivation

from llm4gen_data.errors import UserError


class PerceiverResampler(nn.Module):
    """`num_latents` learned tokens, `width` wide, that attend to themselves and to the features in every layer.

    `time_dim` is the width of the time embedding, None for a resampler that knows no time. Sources: Flamingo
    (arXiv 2204.14198, section 3.1.1) and ELLA (arXiv 2403.05135, section 3.1). Raises UserError if `num_heads` does
    not divide `width`.
    """

    def __init__(
        self, width: int, llm_dim: int, num_layers: int, num_heads: int, num_latents: int, time_dim: int | None = None
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise UserError(f"text_dim {width} cannot be split into {num_heads} heads of equal width")
        self.latents = nn.Parameter(width**-0.5 * torch.randn(num_latents, width))
        self.proj_in = nn.Linear(llm_dim, width)
        self.time_proj = None if time_dim is None else nn.Linear(time_dim, width)
        self.blocks = nn.ModuleList(PerceiverBlock(width, num_heads, time_dim) for _ in range(num_layers))

    def forward(
        self,
        llm_embeds: torch.Tensor,
        llm_mask: torch.Tensor | None = None,
        time_embedding: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`llm_embeds` [B, N, llm_dim] -> [B, num_latents, width].

        Where `llm_mask` [B, N] is False nobody looks; `time_embedding` is [B, time_dim].
        """
        latents = self.latents.expand(len(llm_embeds), -1, -1)
        if self.time_proj is not None and time_embedding is not None:
            latents = latents + self.time_proj(nn.functional.silu(time_embedding)).unsqueeze(1)
        features = self.proj_in(llm_embeds)
        hidden = None
        if llm_mask is not None:
            every_latent = llm_mask.new_zeros(len(llm_mask), len(self.latents))
            hidden = torch.cat([every_latent, ~llm_mask], dim=1)
        for block in self.blocks:
            latents = block(latents, features, hidden, time_embedding)
        return latents


class PerceiverBlock(nn.Module):
    """Cross-attention to latents and features side by side, then a squared-ReLU feed-forward block; pre-norm."""

    def __init__(self, width: int, num_heads: int, time_dim: int | None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), ReLUSquaredActivation(), nn.Linear(4 * width, width)
        )
        self.latent_norm, self.feature_norm, self.norm = (_norm(width, time_dim) for _ in range(3))

    def forward(
        self,
        latents: torch.Tensor,
        features: torch.Tensor,
        hidden: torch.Tensor | None,
        time_embedding: torch.Tensor | None,
    ) -> torch.Tensor:
        """`latents` [B, M, width], `features` [B, N, width] -> latents; `hidden` [B, M + N] is True where not seen."""
        given = {} if time_embedding is None else {"temb": time_embedding}
        query = self.latent_norm(latents, **given)
        seen = torch.cat([query, self.feature_norm(features, **given)], dim=1)
        attended, _ = self.attention(query, seen, seen, key_padding_mask=hidden, need_weights=False)
        latents = latents + attended
        return latents + self.feed_forward(self.norm(latents, **given))  # type: ignore[no-any-return]


def _norm(width: int, time_dim: int | None) -> nn.Module:
    if time_dim is None:
        return nn.LayerNorm(width)
    norm = AdaLayerNorm(time_dim, output_dim=2 * width, norm_eps=1e-6, chunk_dim=1)
    nn.init.zeros_(norm.linear.weight)  # a plain norm at first: the timestep's say is learned
    nn.init.zeros_(norm.linear.bias)
    return norm  # type: ignore[no-any-return]
