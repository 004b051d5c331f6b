"""From prompts to the text condition of any diffusers pipeline: text encoder(s), language model, CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline
from transformers import CLIPTextModelWithProjection

from llm4gen_data.errors import UserError
from llm4gen_model.connectors import Connector
from llm4gen_model.feature_cache import FeatureCache
from llm4gen_model.llm import LanguageModel, pad_features
from llm4gen_model.prompt_embeds import FusionInputs as FusionInputs
from llm4gen_model.prompt_embeds import PromptEmbeds as PromptEmbeds
from llm4gen_model.prompt_embeds import masked_cross_attention as masked_cross_attention
from llm4gen_model.prompt_weights import parse_weights, weigh
from llm4gen_model.text_encoding import chunk_ids, count_chunks, hidden_states, token_spans
from llm4gen_model.timesteps import pack


class PromptEncoder:
    """Text encoder(s) + language model + CAM -> `PromptEmbeds`; without a CAM it equals the stock pipeline.

    One text encoder without a projection is encoded as SD1.5 does (final hidden states), otherwise as SDXL does
    (penultimate hidden states of all encoders side by side, pooled output of the one with the projection). With no
    text encoder at all it is only for `llm_embeds` and `fuse`, of text embeds made elsewhere.
    `force_zeros_for_empty_prompt` is SDXL's: where no negative prompt is given at all (None), its text part is
    zeros, while "" is encoded like any other text.

    `long_prompts="chunk"` has the text encoder(s) read prompts beyond their context in chunks of it, side by side, at
    least `min_text_chunks` of them: a model that learned with so many is given so many.
    `prompt_weights` reads compel's weight syntax; the language model sees the plain text. `llm_token_buckets` are
    the lengths that the language model's part is padded to, the least that holds the batch (None: always
    `llm.max_tokens`): few lengths keep a compiled UNet compiled. Padding becomes tokens, so that other buckets give
    other pictures, unless the connector has `mask_padding`. Raises UserError if the parts do not fit each other.
    """

    def __init__(
        self,
        tokenizers: Sequence[Any],
        text_encoders: Sequence[Any],
        llm: LanguageModel | None = None,
        cam: Connector | None = None,
        *,
        force_zeros_for_empty_prompt: bool = True,
        long_prompts: Literal["truncate", "chunk"] = "truncate",
        min_text_chunks: int = 1,
        prompt_weights: bool = False,
        llm_token_buckets: Sequence[int] | None = None,
    ) -> None:
        self.tokenizers = list(tokenizers)
        self.text_encoders = list(text_encoders)
        self.llm = llm
        self.cam = cam
        self.is_sdxl = len(self.text_encoders) > 1 or any(
            isinstance(encoder, CLIPTextModelWithProjection) for encoder in self.text_encoders
        )
        self.force_zeros_for_empty_prompt = self.is_sdxl and force_zeros_for_empty_prompt
        self.long_prompts = long_prompts
        self.min_text_chunks = min_text_chunks
        self.prompt_weights = prompt_weights
        self.llm_token_buckets = None if llm_token_buckets is None else tuple(llm_token_buckets)
        self._llm_features = None if llm is None else FeatureCache(llm)
        if long_prompts not in ("truncate", "chunk"):
            raise UserError(f"long_prompts = {long_prompts!r}: expected 'truncate' or 'chunk'")
        if cam is not None:
            self._check_fit(cam)
        if self.llm_token_buckets is not None:
            self._check_buckets(self.llm_token_buckets)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: DiffusionPipeline,
        llm: LanguageModel | None = None,
        cam: Connector | None = None,
        **options: Any,
    ) -> PromptEncoder:
        """The encoder that shares the tokenizers and text encoders of an SD1.5- or SDXL-like pipeline.

        `options` are the constructor's.
        """
        pairs = [
            (getattr(pipeline, f"tokenizer{suffix}", None), getattr(pipeline, f"text_encoder{suffix}", None))
            for suffix in ("", "_2")
        ]
        present = [
            (tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder is not None
        ]
        if not present:
            raise UserError(f"{type(pipeline).__name__} has no tokenizer and text encoder")
        force_zeros = bool(pipeline.config.get("force_zeros_for_empty_prompt", False))
        return cls(
            [tokenizer for tokenizer, _ in present],
            [encoder for _, encoder in present],
            llm,
            cam,
            **{"force_zeros_for_empty_prompt": force_zeros, **options},
        )

    @property
    def text_width(self) -> int:
        """Numbers a token of the text condition."""
        return sum(int(encoder.config.hidden_size) for encoder in self.text_encoders)

    @torch.no_grad()
    def text_embeds(
        self, prompts: Sequence[str], n_chunks: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeds [B, n_chunks * T, text_width], padded and cut, and SDXL's pooled embeds [B, P] of the first chunk.

        `n_chunks` None: as many as the longest prompt needs, with `long_prompts="truncate"` one, which is equal to
        `encode_prompt` of the stock pipeline. Raises UserError for no prompts or a prompt that is no text.
        """
        if not self.text_encoders:
            raise UserError("this prompt encoder has no text encoder")
        texts = _checked(prompts, "prompt")
        parsed = [parse_weights(text) if self.prompt_weights else (text, []) for text in texts]
        plain = [text for text, _ in parsed]
        n_chunks = self._n_chunks(plain) if n_chunks is None else n_chunks
        embeds, pooled = [], None
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True):
            ids, mask = chunk_ids(tokenizer, plain, n_chunks)
            states, projected = hidden_states(encoder, ids, mask, is_sdxl=self.is_sdxl)
            states = states.reshape(len(texts), -1, states.shape[-1])
            pooled = pooled if projected is None else projected[::n_chunks]
            weigh(
                states,
                [fragments for _, fragments in parsed],
                tokenizer,
                encoder,
                truncate=self.long_prompts == "truncate",
                is_sdxl=self.is_sdxl,
            )
            embeds.append(states)
        return torch.cat(embeds, dim=-1).to(self.text_encoders[-1].dtype), pooled

    def text_token_spans(self, prompt: str) -> list[tuple[int, int] | None]:
        """The characters [start, end) behind each text token of `prompt`, encoded alone; None for special and padding.

        Tokens are the first text encoder's; characters are counted in `plain_text(prompt)`.
        """
        text = self.plain_text(prompt)
        return token_spans(self.tokenizers[0], text, self._n_chunks([text]))

    def plain_text(self, prompt: str) -> str:
        """The prompt as the language model reads it: without the weights, if there are any to be read."""
        return parse_weights(prompt)[0] if self.prompt_weights else prompt

    def llm_embeds(self, prompts: Sequence[str], n_tokens: int | None = None) -> torch.Tensor:
        """Features [B, n_tokens, llm.width] of the language model, zeros behind each prompt.

        `n_tokens` None: `llm.max_tokens`.
        """
        if self.llm is None or self._llm_features is None:
            raise UserError("this prompt encoder has no language model")
        features = self._llm_features.features(_checked(prompts, "prompt"))
        return pad_features(features, self.llm.max_tokens if n_tokens is None else n_tokens)

    def inputs(self, prompts: Sequence[str], llm_prompts: Sequence[str] | None = None) -> FusionInputs:
        """What `fuse` makes the condition of `prompts` from; `llm_prompts` are the language model's (None: same)."""
        texts = _checked(prompts, "prompt")
        spoken = self._spoken(texts, llm_prompts, "LLM prompts")
        return self._inputs(self.text_embeds(texts)[0], spoken, self._n_llm_tokens(spoken))

    def fuse(
        self, inputs: FusionInputs, timestep: torch.Tensor | float | None = None, scale: float | None = None
    ) -> torch.Tensor:
        """The condition [B, T + M, D]: text tokens first, then the connector's, times `scale` (None: its config's).

        `timestep`, in the scheduler's units, is for connectors that use one; without it their inputs come back packed,
        for a pipeline within `timesteps.fused_per_step`. Gradients reach the connector alone.
        """
        text_embeds, llm_embeds, llm_mask = inputs
        if self.cam is None or llm_embeds is None:
            return text_embeds
        if self.cam.uses_timestep and timestep is None:
            return pack(text_embeds, llm_embeds, llm_mask, self.cam.config.scale if scale is None else scale)
        device, dtype = self.cam.device, self.cam.dtype
        timed = {"timestep": torch.as_tensor(timestep, device=device)} if timestep is not None else {}
        fused = self.cam(
            text_embeds.to(device, dtype),
            llm_embeds.to(device, dtype),
            scale=scale,
            llm_mask=None if llm_mask is None else llm_mask.to(device),
            **(timed if self.cam.uses_timestep else {}),
        )
        return fused.to(text_embeds.device, text_embeds.dtype)

    def encode(
        self,
        prompts: Sequence[str],
        negative_prompts: Sequence[str] | None = None,
        llm_prompts: Sequence[str] | None = None,
        *,
        negative_llm_prompts: Sequence[str] | None = None,
        cam_scale: float | None = None,
        drop_llm_tokens: bool = False,
    ) -> PromptEmbeds:
        """The text condition of `prompts`: T text tokens, then the fused ones if there is a CAM; both signs as long.

        `llm_prompts` and `negative_llm_prompts` are what the language model reads (None: the same as the text
        encoders). The negative goes through the text encoder(s), the language model and the CAM as the prompt does;
        None means "" except for the text part of SDXL (see the class). `cam_scale` multiplies the fused tokens
        (None: as the CAM's config says), `drop_llm_tokens` leaves them out. Where the connector uses the timestep,
        both parts are packed unfused, for `timesteps.fused_per_step`. Raises UserError for prompts that are no texts
        or differ in number.
        """
        texts = _checked(prompts, "prompt")
        negatives = [""] * len(texts) if negative_prompts is None else _checked(negative_prompts, "negative prompt")
        if len(negatives) != len(texts):
            raise UserError(f"{len(negatives)} negative prompts for {len(texts)} prompts: expected one for each")
        spoken = self._spoken(texts, llm_prompts, "LLM prompts")
        negative_spoken = self._spoken(negatives, negative_llm_prompts, "negative LLM prompts")

        n_chunks = self._n_chunks([self.plain_text(text) for text in (*texts, *negatives)])
        text, pooled = self.text_embeds(texts, n_chunks)
        if negative_prompts is None and self.force_zeros_for_empty_prompt:
            negative, negative_pooled = torch.zeros_like(text), None if pooled is None else torch.zeros_like(pooled)
        else:
            negative, negative_pooled = self.text_embeds(negatives, n_chunks)
        if self.cam is None or drop_llm_tokens:
            return PromptEmbeds(text, negative, pooled, negative_pooled)

        n_llm_tokens = self._n_llm_tokens(spoken, negative_spoken)
        inputs = self._inputs(text, spoken, n_llm_tokens)
        negative_inputs = self._inputs(negative, negative_spoken, n_llm_tokens)
        return PromptEmbeds(
            self._condition(inputs, cam_scale),
            self._condition(negative_inputs, cam_scale),
            pooled,
            negative_pooled,
            self._attention_mask(inputs),
            self._attention_mask(negative_inputs),
        )

    def _condition(self, inputs: FusionInputs, scale: float | None) -> torch.Tensor:
        text_embeds, llm_embeds, llm_mask = inputs
        if self.cam is None or llm_embeds is None or not self.cam.uses_timestep:
            return self.fuse(inputs, scale=scale)
        return pack(text_embeds, llm_embeds, llm_mask, self.cam.config.scale if scale is None else scale)

    def _inputs(self, text_embeds: torch.Tensor, spoken: list[str], n_llm_tokens: int) -> FusionInputs:
        if self.cam is None or self._llm_features is None:
            return FusionInputs(text_embeds)
        lengths = torch.tensor([len(tokens) for tokens in self._llm_features.features(spoken)])
        return FusionInputs(
            text_embeds, self.llm_embeds(spoken, n_llm_tokens), torch.arange(n_llm_tokens) < lengths[:, None]
        )

    def _spoken(self, texts: list[str], llm_prompts: Sequence[str] | None, kind: str) -> list[str]:
        spoken = texts if llm_prompts is None else _checked(llm_prompts, kind.removesuffix("s"))
        if len(spoken) != len(texts):
            raise UserError(f"{len(spoken)} {kind} for {len(texts)} prompts: expected one for each")
        return [self.plain_text(text) for text in spoken]

    def _n_chunks(self, texts: Sequence[str]) -> int:
        if self.long_prompts == "truncate":
            return 1
        return max(self.min_text_chunks, *(count_chunks(tokenizer, texts) for tokenizer in self.tokenizers))

    def _n_llm_tokens(self, *batches: list[str]) -> int:
        if self.llm is None or self._llm_features is None:
            return 0
        if self.llm_token_buckets is None:
            return self.llm.max_tokens
        longest = max(len(tokens) for batch in batches for tokens in self._llm_features.features(batch))
        return min(bucket for bucket in self.llm_token_buckets if bucket >= longest)

    def _attention_mask(self, inputs: FusionInputs) -> torch.Tensor | None:
        """True for text tokens, padding included as the text encoders were trained, and for real fused tokens."""
        text_embeds, _, llm_mask = inputs
        if self.cam is None or llm_mask is None or not self.cam.config.mask_padding:
            return None
        text_mask = torch.ones(text_embeds.shape[:2], dtype=torch.bool)
        return torch.cat([text_mask, self.cam.token_mask(llm_mask)], dim=1)

    def _check_fit(self, cam: Connector) -> None:
        if self.text_encoders and cam.config.text_dim != self.text_width:
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

    def _check_buckets(self, buckets: tuple[int, ...]) -> None:
        if self.llm is None:
            raise UserError("llm_token_buckets without a language model")
        if self.llm.pads and buckets != (self.llm.max_tokens,):
            raise UserError(
                f"llm_token_buckets = {buckets}: {self.llm.name!r} pads every text to {self.llm.max_tokens}"
            )
        if max(buckets, default=0) != self.llm.max_tokens or min(buckets) < 1:
            raise UserError(
                f"llm_token_buckets = {buckets}: expected lengths up to {self.llm.max_tokens}, it among them"
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
