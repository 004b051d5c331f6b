"""How many tokens of a CLIP text encoder a prompt takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from llm4gen_data.errors import UserError

CONTEXT_TOKENS = 77
SMALLEST_VOCABULARY = 256  # all bytes
# CLIP's tokenizer first cuts a text so, and never merges across a cut.
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


def fewest_tokens(prompt: str) -> int:
    """A lower bound of a prompt's CLIP tokens, start and end included: a token for each word, digit, run of marks."""
    return len(_PIECE.findall(prompt)) + 2


def token_counts(prompts: Sequence[str], tokenizer: str | None) -> list[int]:
    """Tokens of each prompt with start and end, by the CLIP tokenizer in a folder or of a hub id.

    Without a tokenizer the lower bound of `fewest_tokens`. Raises UserError if it cannot be loaded.
    """
    if tokenizer is None:
        return [fewest_tokens(prompt) for prompt in prompts]
    from transformers import CLIPTokenizer

    try:
        loaded = CLIPTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"CLIP tokenizer {tokenizer}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if len(loaded) < SMALLEST_VOCABULARY:  # transformers makes an empty tokenizer of a folder without its files
        raise UserError(
            f"CLIP tokenizer {tokenizer}: cannot be loaded: no tokenizer.json, or vocab.json and merges.txt"
        )
    return [len(ids) for ids in loaded(list(prompts), truncation=False)["input_ids"]]


def token_figures(prompts: Sequence[str], tokenizer: str | None) -> dict[str, Any]:
    """Mean, median and largest count, and the share of prompts that a context of 77 tokens cuts."""
    counts = token_counts(prompts, tokenizer)
    return {
        "tokenizer": tokenizer or "none: a lower bound, a token for each word, digit and run of marks",
        "mean": round(fmean(counts), 1),
        "median": median(counts),
        "max": max(counts),
        "share_over_77": round(fmean(n > CONTEXT_TOKENS for n in counts), 4),
    }
