"""What is trained: CAM and UNet as one module, of which only the chosen parameters learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from llm4gen_data.errors import UserError
from llm4gen_model.models import Model
from llm4gen_model.training.config import TrainConfig

# as diffusers' train_text_to_image_lora.py
LORA_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]


class Denoiser(nn.Module):
    """CAM (or any connector, or None) and UNet in one module: what DDP and FSDP wrap."""

    cam: Any
    unet: Any

    def __init__(self, unet: nn.Module, cam: nn.Module | None) -> None:
        super().__init__()
        self.cam = cam
        self.unet = unet

    def forward(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What the UNet predicts [B,C,h,w] for `noisy` [B,C,h,w] at `timesteps` [B].

        `text_embeds` [B,T,D], `llm_embeds` [B,N,L] with `llm_mask` [B,N] where the CAM masks padding;
        `added_cond_kwargs` are SDXL's pooled embeds and time ids.
        """
        context, mask = text_embeds, None
        if self.cam is not None:
            step = {"timestep": timesteps} if self.cam.uses_timestep else {}
            context = self.cam(text_embeds, llm_embeds, llm_mask=llm_mask, **step)
            if llm_mask is not None:
                mask = torch.cat([llm_mask.new_ones(text_embeds.shape[:2]), self.cam.token_mask(llm_mask)], dim=1)
        output = self.unet(
            noisy,
            timesteps,
            encoder_hidden_states=context,
            encoder_attention_mask=mask,
            added_cond_kwargs=added_cond_kwargs,
        )
        predicted: torch.Tensor = output.sample
        return predicted


def build_denoiser(config: TrainConfig, model: Model) -> Denoiser:
    """The module that `config.train` trains, made of the model's own: all other parameters are frozen.

    With `cam+unet-lora` the model's UNet gains an adapter. Raises UserError if that needs a missing package.
    """
    for component in model.pipeline.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False).eval()
    unet = model.pipeline.unet
    cam: Any = model.prompt_encoder.cam if config.uses_llm else None
    if cam is not None:
        cam.requires_grad_(True).train()
    if config.train == "cam+unet-lora":
        add_lora(unet, config.lora_rank, config.seed)
    elif config.train == "cam+cross-attention":
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(".attn2." in name)
    elif "unet" in config.train:
        unet.requires_grad_(True)
    if config.train != "cam":
        unet.train()
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if config.channels_last:
        unet.to(memory_format=torch.channels_last)
    if config.compile:
        unet.compile()
    return Denoiser(unet, cam)


def add_lora(unet: Any, rank: int, seed: int) -> None:
    """Give the UNet's attention a LoRA, fresh for `seed`; alone it learns."""
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise UserError("train: cam+unet-lora needs the package 'peft': pip install peft") from error
    torch.manual_seed(seed)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_TARGETS))


def trained_parameters(denoiser: nn.Module) -> dict[str, nn.Parameter]:
    """Name and parameter of all that learns: `cam.` first, then `unet.`."""
    return {name: parameter for name, parameter in denoiser.named_parameters() if parameter.requires_grad}
