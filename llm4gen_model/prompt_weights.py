"""Prompt weights in compel's syntax: `a (red)1.4 cube++ on a (wooden)0.6 table`; for the text encoders only."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

import torch

from llm4gen_data.errors import UserError
from llm4gen_model.text_encoding import with_learned_words

Fragments = list[tuple[str, float]]


def parse_weights(prompt: str) -> tuple[str, Fragments]:
    """The prompt as plain text for those who know no weights, and its weighted fragments.

    A prompt without weights comes back as it is, with no fragments; in others runs of blanks become one. Raises
    UserError for compel's other operators (.blend(), .and(), .swap(), .withLora()) and where compel is not installed.
    """
    parser = _compel("prompt_parser").PromptParser()
    try:
        conjunction = parser.parse_conjunction(prompt)
    except Exception as error:  # what compel's grammar raises has no type in common
        raise UserError(f"prompt {prompt[:60]!r}: compel cannot read its weights: {error}") from error
    (part, *others) = conjunction.prompts
    fragments = getattr(part, "children", [])
    if others or not fragments or any(type(fragment).__name__ != "Fragment" for fragment in fragments):
        raise UserError(f"prompt {prompt[:60]!r}: expected weights only, found another operator of compel")
    if all(fragment.weight == 1 for fragment in fragments):
        return prompt, []
    plain = " ".join(fragment.text for fragment in fragments)
    return re.sub(r" (?=[,.;:!?])", "", plain), [(fragment.text, float(fragment.weight)) for fragment in fragments]


def weigh(
    states: torch.Tensor,
    rows: Sequence[Fragments],
    tokenizer: Any,
    encoder: Any,
    *,
    truncate: bool,
    is_sdxl: bool,
) -> None:
    """Replace those rows of a text encoder's embeds [B, T, D] whose prompt has weighted fragments.

    Weights above 1 push a token's embed away from the empty prompt's, those below 1 blend in the prompt without the
    fragment. `truncate` cuts a prompt to one context, else it is in chunks. Source: compel
    (github.com/damian0815/compel), EmbeddingsProvider.
    """
    if not any(rows):
        return
    compel = _compel("embeddings_provider")
    kinds = compel.ReturnedEmbeddingsType
    device = states.device  # where the encoder computes, wherever its weights wait
    provider = compel.EmbeddingsProvider(
        tokenizer,
        encoder,
        dtype_for_device_getter=lambda _device: encoder.dtype,
        truncate=truncate,
        returned_embeddings_type=(
            kinds.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if is_sdxl else kinds.LAST_HIDDEN_STATES_NORMALIZED
        ),
        split_long_text_mode=compel.SplitLongTextMode.BRUTAL,
        device=device,
    )
    for row, fragments in enumerate(rows):
        if fragments:
            weighted = provider.get_embeddings_for_weighted_prompt_fragments(
                [with_learned_words(tokenizer, [text for text, _ in fragments])],
                [[weight for _, weight in fragments]],
                device=device,
            )[0, : states.shape[1]]
            states[row, : len(weighted)] = weighted


def _compel(module: str) -> Any:
    try:
        return importlib.import_module(f"compel.{module}")
    except ImportError as error:
        raise UserError("prompt weights need compel: pip install compel") from error
