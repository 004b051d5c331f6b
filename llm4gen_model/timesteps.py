"""A condition that changes with the denoising step, through stock pipelines: fused at the UNet's door.

A timestep-aware connector has to run at every step. Handing new embeds to a pipeline from its step callback needs the
schedule before the call, and goes wrong where the pipeline cut a copy out of the embeds (ControlNet's guess mode). So
the parts travel through the pipeline as one tensor, which it repeats, concatenates and splits as it likes, and a hook
fuses whatever arrives, at the timestep that arrives with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch.nn import functional as F

from llm4gen_model.connectors import Connector

# behind the features of every token: 1 for the language model's, 1 for a real one, lambda
N_NOTES = 3


def pack(
    text_embeds: torch.Tensor,
    llm_embeds: torch.Tensor,
    llm_mask: torch.Tensor | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """Both inputs of a connector as one tensor [B, T + N, max(text_dim, llm_dim) + 3], to be fused by `fuse`.

    `text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim], `llm_mask` [B, N] bool.
    """
    width = max(text_embeds.shape[-1], llm_embeds.shape[-1])
    real = llm_embeds.new_ones(llm_embeds.shape[:2]) if llm_mask is None else llm_mask.to(llm_embeds.dtype)
    notes = torch.stack([torch.ones_like(real), real, torch.full_like(real, scale)], dim=-1)
    text = F.pad(text_embeds, (0, width - text_embeds.shape[-1] + N_NOTES))
    llm = torch.cat([F.pad(llm_embeds, (0, width - llm_embeds.shape[-1])), notes], dim=-1)
    return torch.cat([text, llm.to(text.device, text.dtype)], dim=1)


def fuse(connector: Connector, packed: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """The text condition [B, T + M, text_dim] at `timestep` ([B], or one for all) of what `pack` packed."""
    features, (is_llm, real, scale) = packed[..., :-N_NOTES], packed[..., -N_NOTES:].unbind(-1)
    n_text = int((is_llm[0] == 0).sum())
    llm_embeds = features[:, n_text:, : connector.config.llm_dim]
    condition = connector(
        features[:, :n_text, : connector.config.text_dim].to(connector.device, connector.dtype),
        llm_embeds.to(connector.device, connector.dtype),
        scale[:, -1:, None].to(connector.device, connector.dtype),
        real[:, n_text:].to(connector.device) > 0,
        timestep=timestep.to(connector.device),
    )
    return condition.to(packed.device, packed.dtype)


@contextmanager
def fused_per_step(pipeline: DiffusionPipeline, connector: Connector) -> Iterator[None]:
    """Within it, `pipeline` takes packed embeds: its UNet and ControlNet get them fused anew at every step.

    Works in any pipeline, with any scheduler. Embeds that are not packed pass untouched.
    """
    width = max(connector.config.text_dim, connector.config.llm_dim) + N_NOTES

    def hook(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        by_name = "encoder_hidden_states" in kwargs  # else by place: sample, timestep, encoder_hidden_states
        packed = kwargs["encoder_hidden_states"] if by_name else args[2]
        if packed.shape[-1] != width:
            return None
        timestep = torch.as_tensor(kwargs["timestep"] if "timestep" in kwargs else args[1])
        condition = fuse(connector, packed, timestep)
        return (
            (args, {**kwargs, "encoder_hidden_states": condition})
            if by_name
            else ((*args[:2], condition, *args[3:]), kwargs)
        )

    with ExitStack() as hooks:
        for name in ("unet", "controlnet"):
            module = getattr(pipeline, name, None)
            if module is not None:
                hooks.enter_context(module.register_forward_pre_hook(hook, with_kwargs=True))
        yield
