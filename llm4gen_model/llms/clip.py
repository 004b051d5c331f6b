"""The control without a language model: the base's own CLIP states in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from llm4gen_model.conditioning import PromptEncoder

CLIP_FEATURES = "clip"


class ClipFeatures:
    """The text embeds of a prompt encoder, as an `llm.LanguageModel`: a CAM with nothing new to read.

    All states of the text encoder(s) are given, padding included, as the UNet itself sees them.
    """

    name = CLIP_FEATURES
    pads = True

    def __init__(self, prompt_encoder: PromptEncoder) -> None:
        self.width = prompt_encoder.text_width
        self.max_tokens = int(prompt_encoder.tokenizers[0].model_max_length)
        self._prompt_encoder = prompt_encoder

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values."""
        from llm4gen_model.models import module_sha256  # which needs this module

        encoders = self._prompt_encoder.text_encoders
        return {
            "name": self.name,
            "width": self.width,
            "max_tokens": self.max_tokens,
            "sha256": {f"text_encoder {number}": module_sha256(encoder) for number, encoder in enumerate(encoders)},
        }

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Text embeds [max_tokens, width] of every text, float32, in the order given."""
        if not texts:
            return []
        return list(self._prompt_encoder.text_embeds(texts)[0].float())

    def token_spans(self, text: str) -> list[tuple[int, int] | None]:
        """For each row of the text's features the characters [start, end) of `text` that it stands for."""
        return self._prompt_encoder.text_token_spans(text)
