"""The text condition as tensors, and how a UNet is told which of its tokens are padding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from llm4gen_data.errors import UserError


class FusionInputs(NamedTuple):
    """What a connector fuses, of one sign: text embeds [B, T, D] and, with a language model, its features.

    `llm_embeds` is [B, N, L], `llm_mask` [B, N] is True where a token is real.
    """

    text_embeds: torch.Tensor
    llm_embeds: torch.Tensor | None = None
    llm_mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PromptEmbeds:
    """The text condition of a batch: embeds [B, T, D] and, for SDXL, pooled embeds [B, P], both signs.

    Attention masks [B, T] (True: to be seen) are there only where the connector's config has `mask_padding`; stock
    pipelines take no such argument, see `masked_cross_attention`.
    """

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None
    attention_mask: torch.Tensor | None = None
    negative_attention_mask: torch.Tensor | None = None

    def as_kwargs(self) -> dict[str, torch.Tensor]:
        """The arguments of a diffusers pipeline call; pass all of them, stock pipelines need both signs."""
        kwargs = {
            "prompt_embeds": self.prompt_embeds,
            "negative_prompt_embeds": self.negative_prompt_embeds,
            "pooled_prompt_embeds": self.pooled_prompt_embeds,
            "negative_pooled_prompt_embeds": self.negative_pooled_prompt_embeds,
        }
        return {name: tensor for name, tensor in kwargs.items() if tensor is not None}


@contextlib.contextmanager
def masked_cross_attention(unet: Any, embeds: PromptEmbeds) -> Iterator[None]:
    """Have `unet` not look at the padding in `embeds`, in whatever pipeline calls it, with guidance or without.

    Nothing happens where the embeds have no masks. A ControlNet takes no such mask and sees what it is given. Raises
    UserError where the UNet is called with other embeds than these, repeated or not.
    """
    if embeds.attention_mask is None or embeds.negative_attention_mask is None:
        yield
        return
    positive = (embeds.prompt_embeds, embeds.attention_mask)
    negative = (embeds.negative_prompt_embeds, embeds.negative_attention_mask)

    def add_mask(
        _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden = kwargs["encoder_hidden_states"] if "encoder_hidden_states" in kwargs else args[2]
        for signs in ((negative, positive), (positive,), (negative,)):  # pipelines put the negative first
            times, rest = divmod(len(hidden), sum(len(tokens) for tokens, _ in signs))
            if rest == 0:
                tokens, mask = (
                    torch.cat([tensor.repeat_interleave(times, 0) for tensor in tensors])
                    for tensors in zip(*signs, strict=True)
                )
                if torch.equal(tokens.to(hidden.device, hidden.dtype), hidden):
                    return args, {**kwargs, "encoder_attention_mask": mask.to(hidden.device)}
        raise UserError("the UNet was called with other embeds than those the mask was made for")

    handle = unet.register_forward_pre_hook(add_mask, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
