"""From prompts to the text condition of any diffusers pipeline: text encoder(s), language model, CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTextModelWithProjection

from llm4gen_data.errors import UserError
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.llm import LanguageModel, pad_features


@dataclass(frozen=True, slots=True)
class PromptEmbeds:
    """The text condition of a batch: embeds [B, T, D] and, for SDXL, pooled embeds [B, P], both signs."""

    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None

    def as_kwargs(self) -> dict[str, torch.Tensor]:
        """The arguments of a diffusers pipeline call; pass all of them, stock pipelines need both signs."""
        kwargs = {
            "prompt_embeds": self.prompt_embeds,
            "negative_prompt_embeds": self.negative_prompt_embeds,
            "pooled_prompt_embeds": self.pooled_prompt_embeds,
            "negative_pooled_prompt_embeds": self.negative_pooled_prompt_embeds,
        }
        return {name: tensor for name, tensor in kwargs.items() if tensor is not None}


class PromptEncoder:
    """Text encoder(s) + language model + CAM -> `PromptEmbeds`; without a CAM it equals the stock pipeline.

    One text encoder without a projection is encoded as SD1.5 does (final hidden states), otherwise as SDXL does
    (penultimate hidden states of all encoders side by side, pooled output of the one with the projection).
    `force_zeros_for_empty_prompt` is SDXL's: where no negative prompt is given at all (None), its text part is
    zeros, while "" is encoded like any other text. Raises UserError if the CAM does not fit the encoders.
    """

    def __init__(
        self,
        tokenizers: Sequence[Any],
        text_encoders: Sequence[Any],
        llm: LanguageModel | None = None,
        cam: CrossAdapterModule | None = None,
        *,
        force_zeros_for_empty_prompt: bool = True,
    ) -> None:
        self.tokenizers = list(tokenizers)
        self.text_encoders = list(text_encoders)
        self.llm = llm
        self.cam = cam
        self.is_sdxl = len(self.text_encoders) > 1 or isinstance(self.text_encoders[0], CLIPTextModelWithProjection)
        self.force_zeros_for_empty_prompt = self.is_sdxl and force_zeros_for_empty_prompt
        if cam is not None:
            self._check_fit(cam)

    @classmethod
    def from_pipeline(
        cls, pipeline: DiffusionPipeline, llm: LanguageModel | None = None, cam: CrossAdapterModule | None = None
    ) -> PromptEncoder:
        """The encoder that shares the tokenizers and text encoders of an SD1.5- or SDXL-like pipeline."""
        pairs = [
            (getattr(pipeline, f"tokenizer{suffix}", None), getattr(pipeline, f"text_encoder{suffix}", None))
            for suffix in ("", "_2")
        ]
        present = [
            (tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder is not None
        ]
        if not present:
            raise UserError(f"{type(pipeline).__name__} has no tokenizer and text encoder")
        return cls(
            [tokenizer for tokenizer, _ in present],
            [encoder for _, encoder in present],
            llm,
            cam,
            force_zeros_for_empty_prompt=bool(pipeline.config.get("force_zeros_for_empty_prompt", False)),
        )

    @property
    def text_width(self) -> int:
        """Numbers a token of the text condition."""
        return sum(int(encoder.config.hidden_size) for encoder in self.text_encoders)

    @torch.no_grad()
    def text_embeds(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeds [B, T, text_width], padded and cut to the tokenizers' length, and SDXL's pooled embeds [B, P].

        Equal to `encode_prompt` of the stock pipeline. Source: diffusers, StableDiffusionPipeline and
        StableDiffusionXLPipeline. Raises UserError for no prompts or a prompt that is no text.
        """
        texts = _checked(prompts, "prompt")
        embeds, pooled = [], None
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True):
            spelt = texts
            # textual inversion: a learned word of several vectors is a token "word" with "word_1", ... beside it
            if any(token.endswith("_1") for token in tokenizer.added_tokens_encoder):
                spelt = TextualInversionLoaderMixin().maybe_convert_prompt(texts, tokenizer)
            inputs = tokenizer(
                spelt,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).to(encoder.device)
            if self.is_sdxl:
                output = encoder(inputs.input_ids, output_hidden_states=True)
                embeds.append(output.hidden_states[-2])
                pooled = output[0] if output[0].ndim == 2 else pooled
            else:
                uses_mask = getattr(encoder.config, "use_attention_mask", False)
                embeds.append(
                    encoder(inputs.input_ids, attention_mask=inputs.attention_mask if uses_mask else None)[0]
                )
        return torch.cat(embeds, dim=-1).to(self.text_encoders[-1].dtype), pooled

    def llm_embeds(self, prompts: Sequence[str]) -> torch.Tensor:
        """Features [B, llm.max_tokens, llm.width] of the language model, zeros behind each prompt."""
        if self.llm is None:
            raise UserError("this prompt encoder has no language model")
        texts = _checked(prompts, "prompt")
        # the negative prompt stands in a batch once for every prompt, and is read once
        distinct = list(dict.fromkeys(texts))
        features = dict(zip(distinct, self.llm.encode(distinct), strict=True))
        return pad_features([features[text] for text in texts], self.llm.max_tokens)

    def encode(
        self,
        prompts: Sequence[str],
        negative_prompts: Sequence[str] | None = None,
        llm_prompts: Sequence[str] | None = None,
        *,
        cam_scale: float = 1.0,
        drop_llm_tokens: bool = False,
    ) -> PromptEmbeds:
        """The text condition of `prompts`: T text tokens, then `llm.max_tokens` fused ones if there is a CAM.

        `llm_prompts` are what the language model reads (None: the prompts). The negative goes through the text
        encoder(s), the language model and the CAM as the prompt does; None means "" except for the text part of
        SDXL (see the class). `cam_scale` multiplies the fused tokens, `drop_llm_tokens` leaves them out.
        Gradients reach the CAM alone. Raises UserError for prompts that are no texts or differ in number.
        """
        texts = _checked(prompts, "prompt")
        negatives = [""] * len(texts) if negative_prompts is None else _checked(negative_prompts, "negative prompt")
        spoken = texts if llm_prompts is None else _checked(llm_prompts, "LLM prompt")
        for kind, others in (("negative prompts", negatives), ("LLM prompts", spoken)):
            if len(others) != len(texts):
                raise UserError(f"{len(others)} {kind} for {len(texts)} prompts: expected one for each")
        embeds, pooled = self.text_embeds(texts)
        if negative_prompts is None and self.force_zeros_for_empty_prompt:
            negative, negative_pooled = torch.zeros_like(embeds), None if pooled is None else torch.zeros_like(pooled)
        else:
            negative, negative_pooled = self.text_embeds(negatives)
        if self.cam is not None and not drop_llm_tokens:
            embeds = self._fuse(self.cam, embeds, spoken, cam_scale)
            negative = self._fuse(self.cam, negative, negatives, cam_scale)
        return PromptEmbeds(embeds, negative, pooled, negative_pooled)

    def _fuse(
        self, cam: CrossAdapterModule, text_embeds: torch.Tensor, llm_prompts: Sequence[str], scale: float
    ) -> torch.Tensor:
        llm_embeds = self.llm_embeds(llm_prompts).to(cam.device, cam.dtype)
        fused = cam(text_embeds.to(cam.device, cam.dtype), llm_embeds, scale)
        return fused.to(text_embeds.device, text_embeds.dtype)  # type: ignore[no-any-return]

    def _check_fit(self, cam: CrossAdapterModule) -> None:
        if cam.config.text_dim != self.text_width:
            raise UserError(
                f"the CAM was made for text encoders {cam.config.text_dim} wide, this model's are {self.text_width}"
            )
        if self.llm is None:
            raise UserError("a CAM needs a language model beside it")
        if cam.config.llm_dim != self.llm.width:
            raise UserError(
                f"the CAM was made for a language model {cam.config.llm_dim} wide, "
                f"{self.llm.name!r} is {self.llm.width} wide"
            )


def _checked(prompts: Sequence[str], kind: str) -> list[str]:
    if isinstance(prompts, str):
        raise UserError(f"expected a list of {kind}s, found one text: {prompts[:60]!r}")
    if not prompts:
        raise UserError(f"no {kind}s: expected at least one")
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise UserError(f"{kind} {number}: expected a text, found {type(prompt).__name__}")
    return list(prompts)
