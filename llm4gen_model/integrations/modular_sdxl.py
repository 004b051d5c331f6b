"""A text-encoder block for diffusers' modular SDXL: the stock one's place and outputs, a CAM behind the encoders."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.modular_pipelines import ModularPipelineBlocks, PipelineState
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, ConfigSpec, InputParam, OutputParam
from diffusers.modular_pipelines.stable_diffusion_xl import StableDiffusionXLAutoBlocks
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm4gen_data.errors import UserError
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.llm import LLMSettings
from llm4gen_model.llms.pretrained import language_model_of

EMBEDS = (
    ("prompt_embeds", "text condition [B, T + M, D]: text tokens, then the CAM's"),
    ("negative_prompt_embeds", "the same of the negative prompt"),
    ("pooled_prompt_embeds", "pooled output of the second text encoder [B, P]"),
    ("negative_pooled_prompt_embeds", "the same of the negative prompt"),
)
# options of PromptEncoder
ENCODER_OPTIONS = {"long_prompts": "truncate", "prompt_weights": False, "llm_token_buckets": None}
PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "cam", "llm", "llm_tokenizer")


def cam_blocks() -> StableDiffusionXLAutoBlocks:
    """diffusers' modular SDXL (text-to-image, img2img, inpaint, ControlNet, IP-Adapter) with the CAM's text encoder.

    `cam_blocks().init_pipeline(folder or hub id)` makes the pipeline of a saved LLM4GenXLPipeline, whose component and
    configuration names these are; `load_components()` loads it. Elsewhere `update_components` gives it the components
    `cam`, `llm` and `llm_tokenizer` and the configuration `llm_settings` (fields of `LLMSettings`).
    """
    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks["text_encoder"] = CAMTextEncoderStep()
    return blocks


class CAMTextEncoderStep(ModularPipelineBlocks):  # type: ignore[misc]
    """Prompts to SDXL's four embeds through both text encoders, the language model and the CAM.

    Takes `prompt`, `negative_prompt`, `llm_prompt`, `negative_llm_prompt` (a text, or one for each prompt),
    `cam_scale` and `drop_llm_tokens`, as `PromptEncoder.encode` means them. Raises UserError for parts that do not
    fit each other and for a CAM that needs more from the UNet's call than embeds.
    """

    model_name = "stable-diffusion-xl"

    def __init__(self) -> None:
        super().__init__()
        self._made_of: list[Any] = []
        self._prompt_encoder: PromptEncoder | None = None

    @property
    def description(self) -> str:
        """What the block does, for diffusers' printed overview."""
        return "Text encoder step with a language model beside the text encoders, fused by a Cross-Adapter Module"

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """The stock step's components, and the CAM with its language model."""
        return [
            ComponentSpec("text_encoder", CLIPTextModel),
            ComponentSpec("text_encoder_2", CLIPTextModelWithProjection),
            ComponentSpec("tokenizer", CLIPTokenizer),
            ComponentSpec("tokenizer_2", CLIPTokenizer),
            ComponentSpec("cam", CrossAdapterModule),
            ComponentSpec("llm", PreTrainedModel),
            ComponentSpec("llm_tokenizer", PreTrainedTokenizerBase),
            ComponentSpec(
                "guider",
                ClassifierFreeGuidance,
                config=FrozenDict({"guidance_scale": 7.5}),
                default_creation_method="from_config",
            ),
        ]

    @property
    def expected_configs(self) -> list[ConfigSpec]:
        """SDXL's rule for a missing negative prompt, and what LLM4GenXLPipeline knows of its language model."""
        return [
            ConfigSpec("force_zeros_for_empty_prompt", True),
            ConfigSpec("llm_name", "llm"),
            ConfigSpec("llm_settings", {}, "fields of llm4gen_model.llm.LLMSettings"),
            *(ConfigSpec(name, default) for name, default in ENCODER_OPTIONS.items()),
        ]

    @property
    def inputs(self) -> list[InputParam]:
        """What a call of the pipeline may give."""
        return [
            InputParam("prompt", required=True, description="a text or a list of them"),
            InputParam("negative_prompt", description="None: zeros for the text part, as SDXL was trained"),
            InputParam("llm_prompt", description="what the language model reads; None: the prompt"),
            InputParam("negative_llm_prompt", description="the same for the negative prompt"),
            InputParam("cam_scale", type_hint=float, description="multiplies the CAM's tokens; None: its config's"),
            InputParam("drop_llm_tokens", type_hint=bool, default=False, description="leave the CAM's tokens out"),
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """The stock step's outputs."""
        return [
            OutputParam(name, type_hint=torch.Tensor, kwargs_type="denoiser_input_fields", description=description)
            for name, description in EMBEDS
        ]

    @torch.no_grad()
    def __call__(self, components: Any, state: PipelineState) -> tuple[Any, PipelineState]:
        """Encode the prompts of `state` with the `components` of the pipeline."""
        block_state = self.get_block_state(state)
        prompts = [block_state.prompt] if isinstance(block_state.prompt, str) else list(block_state.prompt)
        embeds = self._encoder_over(components).encode(
            prompts,
            _one_each(block_state.negative_prompt, len(prompts)),
            _one_each(block_state.llm_prompt, len(prompts)),
            negative_llm_prompts=_one_each(block_state.negative_llm_prompt, len(prompts)),
            cam_scale=block_state.cam_scale,
            drop_llm_tokens=block_state.drop_llm_tokens,
        )
        for name, tensor in embeds.as_kwargs().items():
            setattr(block_state, name, tensor.to(components._execution_device))
        self.set_block_state(state, block_state)
        return components, state

    def _encoder_over(self, components: Any) -> PromptEncoder:
        # kept while the components stay, for the features that it keeps: of the empty prompt above all
        parts = [getattr(components, name, None) for name in PARTS]
        unchanged = len(parts) == len(self._made_of) and all(map(operator.is_, parts, self._made_of))
        if self._prompt_encoder is None or not unchanged:
            self._prompt_encoder, self._made_of = _make_prompt_encoder(components), parts
        return self._prompt_encoder


def _make_prompt_encoder(components: Any) -> PromptEncoder:
    for name in ("cam", "llm", "llm_tokenizer"):
        if getattr(components, name, None) is None:
            raise UserError(f"the modular pipeline has no {name}: give it with update_components({name}=...)")
    cam, config = components.cam, components.config
    if cam.uses_timestep or cam.config.mask_padding:
        reason = "has to run at every step" if cam.uses_timestep else "masks padding in the UNet's attention"
        raise UserError(f"{type(cam).__name__} {reason}, which diffusers' modular SDXL has no place for")
    # where the language model computes is the pipeline's business
    dtype = str(components.llm.dtype).removeprefix("torch.")
    trained_dtype = config.llm_settings.get("dtype", dtype)
    if dtype != trained_dtype:
        warnings.warn(
            f"the language model computes in {dtype}, the CAM knows its features in {trained_dtype}", stacklevel=3
        )
    settings = LLMSettings(**{**config.llm_settings, "dtype": dtype, "offload": False})
    llm = language_model_of(config.llm_name, components.llm, components.llm_tokenizer, settings, files={})
    return PromptEncoder.from_pipeline(components, llm, cam, **{name: config[name] for name in ENCODER_OPTIONS})


def _one_each(texts: str | list[str] | None, n_prompts: int) -> list[str] | None:
    return [texts] * n_prompts if isinstance(texts, str) else texts
