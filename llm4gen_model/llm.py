"""What a language model is to this project: one batched method that gives features; and the table of those known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.registry import resolve

LANGUAGE_MODELS = {
    "minilm": "llm4gen_model.llms.sentence:minilm",
    "smollm2": "llm4gen_model.llms.decoder:smollm2",
}

DEFAULT_MAX_TOKENS = 128
DTYPES = ("float32", "bfloat16", "float16")


class LanguageModel(Protocol):
    """A frozen language model: `width` numbers a token, at most `max_tokens` tokens a text."""

    name: str
    width: int
    max_tokens: int

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values: cached features are only valid under an equal identity."""
        ...

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Last hidden states [n_i, width] of every text, float32 on the model's device, in the order given.

        Special tokens are in, padding is out. A text longer than `max_tokens` is cut, its end token kept. What
        else is in `texts` changes features by rounding only.
        """
        ...


def load_llm(
    name: str, *, max_tokens: int | None = None, dtype: str = "float32", device: str = "cpu"
) -> LanguageModel:
    """The language model `name`: an entry of LANGUAGE_MODELS, a `module:attribute`, a local folder or a hub id.

    Folders and hub ids may hold a decoder, a T5-like encoder or a BERT-like (sentence) encoder; remote code is
    never run. A `module:attribute` is called with `max_tokens`, `dtype` and `device`. Features are computed in
    `dtype`. Raises UsageError for an unknown `dtype` and UserError for a model that cannot be had or is unfit.
    """
    from llm4gen_model.llms.pretrained import load_pretrained

    max_tokens = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    if max_tokens < 1:
        raise UsageError(f"max_tokens {max_tokens}: expected at least 1")
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is unknown: expected one of {', '.join(DTYPES)}")
    if name in LANGUAGE_MODELS or ":" in name:
        factory = resolve("language model", name, LANGUAGE_MODELS)
        model: LanguageModel = factory(max_tokens=max_tokens, dtype=dtype, device=device)
        return model
    return load_pretrained(name, max_tokens=max_tokens, dtype=dtype, device=device)


def pad_features(features: Sequence[torch.Tensor], n_tokens: int) -> torch.Tensor:
    """Features [n_i, width] as one tensor [B, n_tokens, width], zeros behind each text.

    Raises UserError for no features at all, or for a text of more than `n_tokens` tokens.
    """
    longest = max((len(tokens) for tokens in features), default=0)
    if not 0 < longest <= n_tokens:
        raise UserError(f"features of {longest} tokens cannot be padded to {n_tokens}")
    return torch.stack([F.pad(tokens, (0, 0, 0, n_tokens - len(tokens))) for tokens in features])
