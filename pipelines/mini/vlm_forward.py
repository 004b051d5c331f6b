"""The forward pass that trains vlm-mini: each image's prefix once, behind it any number of texts, hardly any padding.

What it computes equals the model's own forward of each text alone (a test compares them); it is several times faster
than rows with a mask, for a text's tokens look at their image and at themselves only.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Idefics3ForConditionalGeneration

from pipelines.mini.vlm import GRID_SIZE
from pipelines.mini.vlm_batch import TextBatch
from pipelines.mini.vlm_data import pixel_values

LayerParts = tuple[Callable[..., Any], Callable[..., Any]]


def encode_images(model: Idefics3ForConditionalGeneration, images: np.ndarray) -> torch.Tensor:
    """uint8 `[B,64,64,3]` to image tokens `[B,16,D]`."""
    patches = torch.ones(len(images), 2 * GRID_SIZE, 2 * GRID_SIZE, dtype=torch.bool)
    # The fused kernel is slow backwards in bfloat16, and there are only 64 patches.
    with sdpa_kernel(SDPBackend.MATH):
        hidden = model.model.vision_model(pixel_values(images), patches).last_hidden_state
    tokens: torch.Tensor = model.model.connector(hidden)
    return tokens


def text_hidden_states(
    model: Idefics3ForConditionalGeneration,
    image_tokens: torch.Tensor,
    texts: TextBatch,
    parts: LayerParts | None = None,
) -> list[torch.Tensor]:
    """Hidden states `[N,D]` of all tokens behind each layer, behind the last with its norm.

    `parts` are `project` and `transform`, or those two compiled.
    """
    before, behind = parts or (project, transform)
    tower = model.model.text_model
    embeds = tower.embed_tokens(texts.input_ids)
    is_image = texts.input_ids == model.config.image_token_id
    hidden = embeds.masked_scatter(is_image[:, None], image_tokens.to(embeds.dtype))
    cos, sin = (table[0, :, None] for table in tower.rotary_emb(hidden[None], texts.position_ids[None]))
    states = []
    for layer in tower.layers:
        query, key, value = before(layer, hidden, cos, sin)
        hidden = behind(layer, hidden, attend(query, key, value, texts))
        states.append(hidden)
    return [*states[:-1], tower.norm(hidden)]


def project(
    layer: Any, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries `[N,H,E]`, keys and values `[N,K,E]` of a Llama layer, turned by their positions."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    query, key, value = (
        projection(normed).view(len(hidden), -1, attention.head_dim)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return rotate(query, cos, sin), rotate(key, cos, sin), value


def rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, the halves of a head forming the pairs."""
    low, high = heads.chunk(2, dim=-1)
    return heads * cos.to(heads.dtype) + torch.cat([-high, low], dim=-1) * sin.to(heads.dtype)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, texts: TextBatch) -> torch.Tensor:
    """Causal attention `[N,H*E]`: prefixes among themselves, texts to their image's prefix and themselves."""
    end = texts.n_images * texts.n_prefix
    prefix_query, prefix_keys, prefix_values = (
        heads[:end].view(texts.n_images, texts.n_prefix, *heads.shape[1:]) for heads in (query, key, value)
    )
    mixed = [causal_attention(prefix_query, prefix_keys, prefix_values)]
    for image_index, length in texts.groups:
        start, end = end, end + len(image_index) * length
        own_query, own_keys, own_values = (
            heads[start:end].view(len(image_index), length, *heads.shape[1:]) for heads in (query, key, value)
        )
        keys = torch.cat([prefix_keys[image_index], own_keys], dim=1)
        values = torch.cat([prefix_values[image_index], own_values], dim=1)
        mixed.append(causal_attention(own_query, keys, values))
    return torch.cat(mixed)


def causal_attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Mixed values `[T*L,H*E]` of queries `[T,L,H,E]`: the last L of M positions with `keys`, `values` `[T,M,K,E]`."""
    n_texts, length, n_heads, size = query.shape
    n_keys, n_groups = keys.shape[1:3]
    # Heads that share a key stand one below the other, so that one product serves them.
    q = query.view(n_texts, length, n_groups, -1, size).permute(0, 2, 3, 1, 4).reshape(n_texts * n_groups, -1, size)
    k = keys.permute(0, 2, 3, 1).reshape(n_texts * n_groups, size, n_keys)
    v = values.transpose(1, 2).reshape(n_texts * n_groups, n_keys, size)
    scores = ((q / math.sqrt(size)) @ k).view(n_texts * n_groups, -1, length, n_keys)
    later = torch.ones(length, n_keys, dtype=torch.bool).triu(n_keys - length + 1)
    weights = F.softmax(scores.masked_fill(later, -1e4), dim=-1, dtype=scores.dtype)
    mixed = (weights.view(n_texts * n_groups, -1, n_keys) @ v).view(n_texts, n_groups, -1, length, size)
    return mixed.permute(0, 3, 1, 2, 4).reshape(n_texts * length, n_heads * size)


def transform(layer: Any, hidden: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """The rest of a Llama layer behind its attention."""
    hidden = hidden + layer.self_attn.o_proj(mixed)
    transformed: torch.Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return transformed
