"""The text-encoder side of a prompt: CLIP's tokens in chunks of its context, as the stock pipelines encode them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.loaders import TextualInversionLoaderMixin

from llm4gen_data.errors import UserError


def count_chunks(tokenizer: Any, texts: Sequence[str]) -> int:
    """How many contexts of the tokenizer's length the longest of `texts` fills, at least 1."""
    start, end = _special_ids(tokenizer)
    n_kept: int = tokenizer.model_max_length - len(start) - len(end)
    return max(1, *(math.ceil(len(ids) / n_kept) for ids in _text_ids(tokenizer, texts)))


def chunk_ids(tokenizer: Any, texts: Sequence[str], n_chunks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B * n_chunks, L] of texts cut to `n_chunks` contexts, and the mask of those that are no padding.

    Every chunk stands between special tokens of its own and is padded to the tokenizer's length L; a text that needs
    fewer chunks gets empty ones. One chunk is what tokenizers make with `padding="max_length", truncation=True`.
    """
    start, end = _special_ids(tokenizer)
    length = tokenizer.model_max_length
    n_kept = length - len(start) - len(end)
    chunks = [
        [*start, *ids[first : first + n_kept], *end]
        for ids in _text_ids(tokenizer, texts)
        for first in range(0, n_chunks * n_kept, n_kept)
    ]
    padded = [chunk + [tokenizer.pad_token_id] * (length - len(chunk)) for chunk in chunks]
    mask = [[1] * len(chunk) + [0] * (length - len(chunk)) for chunk in chunks]
    return torch.tensor(padded), torch.tensor(mask)


def hidden_states(encoder: Any, ids: torch.Tensor, mask: torch.Tensor, *, is_sdxl: bool) -> tuple[Any, Any]:
    """A text encoder's states [B, L, D] for token ids [B, L], and its pooled output [B, P] if it projects one.

    SD1.5 takes the final states, SDXL the penultimate ones. Source: diffusers, `encode_prompt` of
    StableDiffusionPipeline and StableDiffusionXLPipeline.
    """
    ids = ids.to(encoder.device)
    if is_sdxl:
        output = encoder(ids, output_hidden_states=True)
        return output.hidden_states[-2], output[0] if output[0].ndim == 2 else None
    uses_mask = getattr(encoder.config, "use_attention_mask", False)
    return encoder(ids, attention_mask=mask.to(encoder.device) if uses_mask else None)[0], None


def token_spans(tokenizer: Any, text: str, n_chunks: int) -> list[tuple[int, int] | None]:
    """The characters [start, end) of `text` behind every token of its chunks; None for special tokens and padding.

    Every vector of a learned word (textual inversion) has the span of the word. Raises UserError for a tokenizer
    that cannot tell.
    """
    if not tokenizer.is_fast:
        raise UserError(f"{type(tokenizer).__name__} does not tell which characters its tokens come from")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    learned = tokenizer.added_tokens_encoder
    spans: list[tuple[int, int] | None] = []
    for token, (first, last) in zip(
        tokenizer.convert_ids_to_tokens(encoded.input_ids), encoded.offset_mapping, strict=True
    ):
        n_vectors = 1
        while f"{token}_{n_vectors}" in learned:
            n_vectors += 1
        spans += [(first, last)] * n_vectors
    start, end = _special_ids(tokenizer)
    n_kept = tokenizer.model_max_length - len(start) - len(end)
    rows: list[tuple[int, int] | None] = []
    for first in range(0, n_chunks * n_kept, n_kept):
        chunk = spans[first : first + n_kept]
        rows += [*[None] * len(start), *chunk, *[None] * (n_kept - len(chunk) + len(end))]
    return rows


def with_learned_words(tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """The texts with every learned word spelt out as the tokens of its vectors, as the stock pipelines do."""
    # textual inversion: a learned word of several vectors is a token "word" with "word_1", ... beside it
    if not any(token.endswith("_1") for token in tokenizer.added_tokens_encoder):
        return list(texts)
    return TextualInversionLoaderMixin().maybe_convert_prompt(list(texts), tokenizer)  # type: ignore[no-any-return]


def _text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    spelt = with_learned_words(tokenizer, texts)
    return tokenizer(spelt, add_special_tokens=False, verbose=False).input_ids  # type: ignore[no-any-return]


def _special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    # what the tokenizer puts around nothing: <|startoftext|> and <|endoftext|> of CLIP
    *start, end = tokenizer("").input_ids
    return start, [end]
