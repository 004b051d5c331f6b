"""Cross-attention maps of chosen layers, while the UNet runs as it always does.

The maps are computed beside the layer by a hook, from the layer's own projections: its processor, fused attention
included, stays as it is, so that pictures do not change, whatever processors a LoRA or an IP-Adapter brought along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from llm4gen_data.errors import UsageError


def cross_attention_layers(unet: UNet2DConditionModel, patterns: Sequence[str] = ()) -> list[str]:
    """Names of the UNet's cross-attention layers, those that contain one of `patterns` (none given: all).

    Raises UsageError for a pattern that no layer's name contains.
    """
    names = [
        name
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention and not module.only_cross_attention
    ]
    for pattern in patterns:
        if not any(pattern in name for name in names):
            raise UsageError(f"layer {pattern!r}: no cross-attention layer is called so; there are {', '.join(names)}")
    return [name for name in names if not patterns or any(pattern in name for pattern in patterns)]


@contextmanager
def capture_cross_attention(unet: UNet2DConditionModel, layers: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Within it, each forward pass puts the maps of `layers` into the dict: name -> [B, heads, H*W, N], float32.

    N are the tokens of the text condition; under guidance B holds the negatives first. A map is part of the graph,
    so a loss on it reaches the UNet and the condition. Each forward pass replaces the maps of the one before, and
    the second forward of gradient checkpointing puts the same maps in the same places. Other layers pay nothing.
    """
    maps: dict[str, torch.Tensor] = {}

    def hook_for(name: str) -> Any:
        def hook(layer: Attention, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            maps[name] = attention_probabilities(layer, *args, **kwargs)

        return hook

    with ExitStack() as hooks:
        for name in layers:
            module = unet.get_submodule(name)
            hooks.enter_context(module.register_forward_pre_hook(hook_for(name), with_kwargs=True))
        yield maps


def attention_probabilities(
    layer: Attention,
    hidden_states: torch.Tensor,
    encoder_hidden_states: Any,
    attention_mask: torch.Tensor | None = None,
    **_: Any,
) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) of a cross-attention layer, [B, heads, H*W, N] in float32, called as the layer is.

    `hidden_states` [B, H*W, C]; of an IP-Adapter's (text, image) condition the text counts. `attention_mask`
    [B, 1, N] is added to the scores. Source: diffusers, AttnProcessor2_0.
    """
    # an IP-Adapter's image tokens have an attention of their own
    text = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states
    if layer.group_norm is not None:
        hidden_states = layer.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
    if layer.norm_cross:
        text = layer.norm_encoder_hidden_states(text)
    query, key = (
        projected.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for projected in (layer.to_q(hidden_states), layer.to_k(text))
    )
    if layer.norm_q is not None:
        query = layer.norm_q(query)
    if layer.norm_k is not None:
        key = layer.norm_k(key)
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    if attention_mask is not None:
        scores = scores + attention_mask[:, None]
    return torch.softmax(scores, dim=-1)


def to_grid(maps: torch.Tensor, latent_size: tuple[int, int]) -> torch.Tensor:
    """Maps [..., H*W, N] of one layer as pictures [..., N, H, W], for latents of `latent_size` (height, width)."""
    height, width = latent_size
    # a UNet's layers see the latents halved any number of times, rounded up
    while height * width > maps.shape[-2]:
        height, width = -(-height // 2), -(-width // 2)
    return maps.transpose(-1, -2).reshape(*maps.shape[:-2], maps.shape[-1], height, width)
