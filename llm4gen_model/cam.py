"""The Cross-Adapter Module (CAM): fuses a language model's features into the text condition of a diffusion model."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation

from llm4gen_data.errors import UserError


class CrossAdapterModule(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """LLM tokens look at the CLIP tokens and are put behind them: the text condition grows, the UNet stays as it is.

    Layout, names and arithmetic are those of the released `projector.pth` (text_dim 768, llm_dim 2048, 8 heads:
    20 tensors, 8,663,040 parameters), so its state dict loads as it is. The published form is
    c' = CrossAttention(Q = W_q c_llm, K = W_k c_text, V = W_v c_text) and Concat(lambda c', c_text)
    (arXiv 2407.00737, section 3); the released code puts the CLIP tokens first, has no lambda, and adds residuals
    and a feed-forward block. Source: github.com/YUHANG-Ma/LLM4GEN, infer_llm4gen_sd15.py.

    For SDXL `text_dim` is 2048, both text encoders side by side; the pooled embeds are none of the CAM's business.
    `mask_padding` (ours, off in the release) makes zeros of the tokens of padded positions, `scale` is lambda where
    a call gives none. Raises UserError if `num_heads` does not divide `text_dim`.
    """

    uses_timestep = False
    _skip_layerwise_casting_patterns = ("norm",)

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        text_dim: int = 768,
        llm_dim: int = 2048,
        num_heads: int = 8,
        mask_padding: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if text_dim % num_heads:
            raise UserError(f"text_dim {text_dim} cannot be split into {num_heads} heads of equal width")
        # A list of exactly one: stacked blocks would each append their LLM tokens to the next one's text.
        self.CrossFusionModule = nn.ModuleList([_CrossFusionBlock(text_dim, llm_dim, num_heads)])

    def forward(
        self,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor,
        scale: float | torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The text condition with fused LLM tokens behind it.

        `text_embeds` [B, T, text_dim] and `llm_embeds` [B, N, llm_dim] give [B, T + N, text_dim]; the first T
        tokens are `text_embeds` untouched. `scale` multiplies the fused tokens: lambda of the paper, 1.0 in the
        release (None: the config's). Without `mask_padding` nothing is masked, as in the release: padding in
        `llm_embeds` becomes tokens too. With it, tokens where `llm_mask` [B, N] is False are zeros; the UNet still
        attends to zeros, so that it needs `token_mask` as well.
        """
        fused = self.CrossFusionModule[0](text_embeds, llm_embeds)
        if self.config.mask_padding and llm_mask is not None:
            fused = fused * llm_mask.unsqueeze(-1)
        return torch.cat([text_embeds, (self.config.scale if scale is None else scale) * fused], dim=1)

    def token_mask(self, llm_mask: torch.Tensor) -> torch.Tensor:
        """Which fused tokens stand for real ones [B, N]: a token of its own for each of the language model's."""
        return llm_mask


class _CrossFusionBlock(nn.Module):
    """The one block of the release; attribute names are its checkpoint's keys."""

    def __init__(self, text_dim: int, llm_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.llm_proj = nn.Linear(llm_dim, text_dim)
        self.q_proj = nn.Linear(text_dim, text_dim)
        self.k_proj = nn.Linear(text_dim, text_dim)
        self.v_proj = nn.Linear(text_dim, text_dim)
        self.out_proj = nn.Linear(text_dim, text_dim)
        self.q_norm = nn.LayerNorm(text_dim)
        self.kv_norm = nn.LayerNorm(text_dim)
        self.norm = nn.LayerNorm(text_dim)
        self.FFN = nn.Sequential(
            nn.Linear(text_dim, 4 * text_dim), QuickGELUActivation(), nn.Linear(4 * text_dim, text_dim)
        )
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.trunc_normal_(projection.weight, std=0.02)

    def forward(self, text_embeds: torch.Tensor, llm_embeds: torch.Tensor) -> torch.Tensor:
        """`text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim] -> fused LLM tokens [B, N, text_dim]."""
        llm = self.llm_proj(llm_embeds)
        # The release names these two the other way round: q_norm feeds keys and values, kv_norm feeds the queries.
        text_normed, llm_normed = self.q_norm(text_embeds), self.kv_norm(llm)
        query, key, value = (
            projection(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection, tokens in (
                (self.q_proj, llm_normed),
                (self.k_proj, text_normed),
                (self.v_proj, text_normed),
            )
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        llm = self.out_proj(attended) + llm
        return self.FFN(self.norm(llm)) + llm  # type: ignore[no-any-return]
