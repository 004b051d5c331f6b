"""LLM4GEN as diffusers pipelines: a language model and a CAM are components like any other.

Image-to-image, inpainting, ControlNet and the like need no classes of their own: their stock pipelines take
`prompt_encoder.encode(...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm4gen_data.errors import UserError
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.peers.ella import TimestepAwareSemanticConnector
from llm4gen_model.peers.mlp import MLPConnector
from llm4gen_model.peers.resampler import ResamplerConnector
from llm4gen_model.pipeline_mixin import ADDED_COMPONENTS, LLM4GenMixin

# from_pipe hands over only components of the classes annotated here
AnyConnector = CrossAdapterModule | MLPConnector | ResamplerConnector | TimestepAwareSemanticConnector | None
Texts = str | Sequence[str] | None


class LLM4GenPipeline(LLM4GenMixin, StableDiffusionPipeline):  # type: ignore[misc]
    """SD1.5 whose prompts a language model reads as well; called like StableDiffusionPipeline, see `LLM4GenMixin`."""

    _stock = StableDiffusionPipeline
    _custom_pipeline = "sd15.py"
    _optional_components: ClassVar[list[str]] = [*StableDiffusionPipeline._optional_components, *ADDED_COMPONENTS]
    model_cpu_offload_seq = "text_encoder->llm->cam->image_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        requires_safety_checker: bool = False,
        cam: AnyConnector = None,
        llm: PreTrainedModel | None = None,
        llm_tokenizer: PreTrainedTokenizerBase | None = None,
        llm_name: str | None = None,
        llm_settings: dict[str, Any] | None = None,
        llm_sha256: dict[str, str] | None = None,
        long_prompts: str = "truncate",
        prompt_weights: bool = False,
        llm_token_buckets: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
            requires_safety_checker=requires_safety_checker,
        )
        self._register_llm(
            cam,
            llm,
            llm_tokenizer,
            llm_name=llm_name,
            llm_settings=llm_settings,
            llm_sha256=llm_sha256,
            long_prompts=long_prompts,
            prompt_weights=prompt_weights,
            llm_token_buckets=llm_token_buckets,
        )

    def encode_prompt(
        self,
        prompt: Texts,
        device: torch.device,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
        negative_prompt: Texts = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> Any:
        """As the stock pipeline's, through the language model and the CAM; a negative that is not given is encoded."""
        if prompt_embeds is None or (negative_prompt_embeds is None and do_classifier_free_guidance):
            texts = prompt if prompt is not None else [""] * (1 if prompt_embeds is None else len(prompt_embeds))
            embeds = self._encode(texts, negative_prompt, lora_scale=lora_scale, clip_skip=clip_skip)
            prompt_embeds = embeds.prompt_embeds if prompt_embeds is None else prompt_embeds
            negative_prompt_embeds = embeds.negative_prompt_embeds
        return super().encode_prompt(
            None,
            device,
            num_images_per_prompt,
            do_classifier_free_guidance,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
        )

    def __call__(
        self,
        prompt: Texts = None,
        *,
        llm_prompt: Texts = None,
        negative_llm_prompt: Texts = None,
        cam_scale: float | None = None,
        drop_llm_tokens: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Draw as the stock pipeline does, with its arguments by name.

        `llm_prompt` and `negative_llm_prompt` are what the language model reads where it differs, `cam_scale`
        multiplies the tokens it adds, `drop_llm_tokens` leaves them out: the stock pipeline's picture.
        """
        llm_options = {
            "llm_prompt": llm_prompt,
            "negative_llm_prompt": negative_llm_prompt,
            "cam_scale": cam_scale,
            "drop_llm_tokens": drop_llm_tokens,
        }
        return self._call(prompt, llm_options, kwargs)


class LLM4GenXLPipeline(LLM4GenMixin, StableDiffusionXLPipeline):  # type: ignore[misc]
    """SDXL whose prompts a language model reads as well; called like StableDiffusionXLPipeline, see `LLM4GenMixin`.

    Pooled embeds and time ids are the stock pipeline's. Both text encoders read the same prompt.
    """

    _stock = StableDiffusionXLPipeline
    _custom_pipeline = "sdxl.py"
    _optional_components: ClassVar[list[str]] = [*StableDiffusionXLPipeline._optional_components, *ADDED_COMPONENTS]
    model_cpu_offload_seq = "text_encoder->text_encoder_2->llm->cam->image_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
        cam: AnyConnector = None,
        llm: PreTrainedModel | None = None,
        llm_tokenizer: PreTrainedTokenizerBase | None = None,
        llm_name: str | None = None,
        llm_settings: dict[str, Any] | None = None,
        llm_sha256: dict[str, str] | None = None,
        long_prompts: str = "truncate",
        prompt_weights: bool = False,
        llm_token_buckets: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet,
            scheduler=scheduler,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
            add_watermarker=add_watermarker,
        )
        self._register_llm(
            cam,
            llm,
            llm_tokenizer,
            llm_name=llm_name,
            llm_settings=llm_settings,
            llm_sha256=llm_sha256,
            long_prompts=long_prompts,
            prompt_weights=prompt_weights,
            llm_token_buckets=llm_token_buckets,
        )

    def encode_prompt(
        self,
        prompt: Texts,
        prompt_2: Texts = None,
        device: torch.device | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: Texts = None,
        negative_prompt_2: Texts = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        negative_pooled_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> Any:
        """As the stock pipeline's, through the language model and the CAM; a negative that is not given is encoded."""
        if prompt_2 is not None or negative_prompt_2 is not None:
            raise UserError(
                "prompt_2: both text encoders read the same prompt; for the language model give llm_prompt"
            )
        if prompt_embeds is None or (negative_prompt_embeds is None and do_classifier_free_guidance):
            texts = prompt if prompt is not None else [""] * (1 if prompt_embeds is None else len(prompt_embeds))
            embeds = self._encode(texts, negative_prompt, lora_scale=lora_scale, clip_skip=clip_skip)
            if prompt_embeds is None:
                prompt_embeds, pooled_prompt_embeds = embeds.prompt_embeds, embeds.pooled_prompt_embeds
            negative_prompt_embeds = embeds.negative_prompt_embeds
            negative_pooled_prompt_embeds = embeds.negative_pooled_prompt_embeds
        return super().encode_prompt(
            None,
            device=device,
            num_images_per_prompt=num_images_per_prompt,
            do_classifier_free_guidance=do_classifier_free_guidance,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            pooled_prompt_embeds=pooled_prompt_embeds,
            negative_pooled_prompt_embeds=negative_pooled_prompt_embeds,
        )

    def __call__(
        self,
        prompt: Texts = None,
        *,
        llm_prompt: Texts = None,
        negative_llm_prompt: Texts = None,
        cam_scale: float | None = None,
        drop_llm_tokens: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Draw as the stock pipeline does, with its arguments by name; the others as in `LLM4GenPipeline`."""
        for name in ("prompt_2", "negative_prompt_2"):
            if kwargs.pop(name, None) is not None:
                raise UserError(f"{name}: both text encoders read the same prompt; expected llm_prompt")
        llm_options = {
            "llm_prompt": llm_prompt,
            "negative_llm_prompt": negative_llm_prompt,
            "cam_scale": cam_scale,
            "drop_llm_tokens": drop_llm_tokens,
        }
        return self._call(prompt, llm_options, kwargs)
