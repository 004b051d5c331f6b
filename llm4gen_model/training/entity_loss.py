"""The entity-guided loss: an entity and its attributes are to be looked at in the same places.

The paper says no more than that; norm, normalisation, layers and weight are our reading (docs/entity-loss.md).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from llm4gen_model.attention.capture import capture_cross_attention, cross_attention_layers
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.connectors import is_one_to_one
from llm4gen_model.training.config import EntityLossConfig

EPSILON = 1e-8
# a tokenizer's first call may change it, which it refuses while another thread is in it
TOKENIZING = threading.Lock()


def captured_maps(config: EntityLossConfig, unet: nn.Module) -> AbstractContextManager[dict[str, torch.Tensor]]:
    """Within it, every forward pass of the UNet leaves the maps of the chosen layers in the dict; all others none.

    It must last until after the backward pass: gradient checkpointing runs the layers again. Raises UsageError for
    layers that the UNet does not have.
    """
    if not config.weight:
        return nullcontext({})
    return capture_cross_attention(unet, cross_attention_layers(unet, config.layers))


def entity_tokens(
    encoder: PromptEncoder, captions: Sequence[str], spans: Sequence[torch.Tensor], max_pairs: int
) -> torch.Tensor:
    """Which tokens of the condition stand for an entity and its attribute, `[B,max_pairs,2,N]` bool.

    `spans` of each caption `[n,4]` are those of `entity_pairs.EntitySpans`; of more than `max_pairs` the first ones
    count. N are the text encoder's tokens, then the language model's, where the connector gives one for each. A pair
    of which one half was cut off is all False, as is what is beyond a caption's pairs.
    """
    reads_llm = encoder.llm is not None and encoder.cam is not None and is_one_to_one(encoder.cam)
    rows = []
    for caption, found in zip(captions, spans, strict=True):
        with TOKENIZING:
            tokens = encoder.text_token_spans(caption)
            if reads_llm:
                assert encoder.llm is not None
                of_llm = encoder.llm.token_spans(caption)
                tokens += [*of_llm, *[None] * (encoder.llm.max_tokens - len(of_llm))]
        # no characters at all overlap (0, 0)
        start, end = torch.tensor([span or (0, 0) for span in tokens]).unbind(dim=1)
        halves = found[:max_pairs].reshape(-1, 2, 2)
        inside = (start < halves[..., 1:]) & (halves[..., :1] < end)
        inside &= inside.any(dim=-1).all(dim=-1)[:, None, None]
        rows.append(F.pad(inside, (0, 0, 0, 0, 0, max_pairs - len(inside))))
    return torch.stack(rows)


def entity_losses(
    config: EntityLossConfig, maps: Mapping[str, torch.Tensor], tokens: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """The loss of every sample `[B]`, not yet weighted: the mean over its pairs and the layers of their distance.

    `maps` [B, heads, H*W, N] of each layer, `tokens` those of `entity_tokens`, `timesteps` [B]. An entity's map is
    the mean over heads of the sum over its tokens, the text encoder's and the language model's. A sample without
    pairs, or beyond `max_timestep`, counts 0, so that a mean over samples does not depend on how a batch is cut.
    """
    real = tokens.any(dim=-1).all(dim=-1).float()
    by_layer = []
    with torch.autocast(tokens.device.type, enabled=False):
        for layer in maps.values():
            # a resampler's latents stand behind the text's tokens and are nobody's
            members = F.pad(tokens, (0, layer.shape[-1] - tokens.shape[-1])).to(layer.dtype).flatten(1, 2)
            looked = (layer.mean(dim=1) @ members.mT).mT  # [B, pairs * 2, H*W]; a product, for equal bits on a GPU
            by_layer.append(distance(config.distance, looked[:, 0::2], looked[:, 1::2]))
        losses = (torch.stack(by_layer).mean(dim=0) * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
    if config.max_timestep is not None:
        losses = losses * (timesteps <= config.max_timestep)
    return losses


def distance(name: str, some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """How far maps [..., H*W] are from each other [...], whatever their sum; 0 where they are alike.

    l2: of unit vectors, 0 to 1.41. l1: half the sum of differences of shares, 0 to 1. kl: the mean of both
    Kullback-Leibler divergences of shares (SynGen, arXiv 2306.08877).
    """
    if name == "l2":
        difference = F.normalize(some, dim=-1) - F.normalize(others, dim=-1)
        return torch.linalg.vector_norm(difference, dim=-1)  # type: ignore[no-any-return]
    p, q = (values / values.sum(dim=-1, keepdim=True).clamp(min=EPSILON) for values in (some, others))
    if name == "l1":
        return (p - q).abs().sum(dim=-1) / 2
    return ((p - q) * ((p + EPSILON).log() - (q + EPSILON).log())).sum(dim=-1) / 2
