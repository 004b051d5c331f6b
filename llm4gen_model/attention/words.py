"""Which words of a prompt are looked at, and which tokens stand for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm4gen_data.densprompts.drawings import FUNCTION_WORDS
from llm4gen_data.errors import UsageError

Span = tuple[int, int]

MAX_WORDS = 16


@dataclass(frozen=True, slots=True)
class Word:
    """A word or phrase and every place [start, end) where the prompt has it."""

    text: str
    spans: tuple[Span, ...]


def find_words(prompt: str, names: Sequence[str] = ()) -> list[Word]:
    """The words or phrases `names` in `prompt`, upper and lower case alike; without names, its words of content.

    Of more than MAX_WORDS words of content the first and the last are taken: text encoders cut a prompt at its end.
    Raises UsageError for a name that the prompt does not hold.
    """
    if not names:
        found = dict.fromkeys(word.lower() for word in re.findall(r"[^\W\d_][\w-]*\w", prompt))
        names = [word for word in found if word not in FUNCTION_WORDS] or list(found) or [prompt.strip()]
        if len(names) > MAX_WORDS:
            names = [*names[: MAX_WORDS // 2], *names[-MAX_WORDS // 2 :]]
    words = []
    for name in names:
        pattern = rf"(?<!\w){re.escape(name.strip())}(?!\w)"
        spans = tuple(match.span() for match in re.finditer(pattern, prompt, re.IGNORECASE))
        if not spans or not name.strip():
            raise UsageError(f"word {name!r}: the prompt does not hold it: {prompt[:80]!r}")
        words.append(Word(name.strip(), spans))
    return words


def token_rows(word: Word, token_spans: Sequence[Span | None]) -> list[int]:
    """The tokens, by number, whose characters overlap the word's; none where the encoder never read it."""
    return [
        row
        for row, token in enumerate(token_spans)
        if token is not None and any(token[0] < end and start < token[1] for start, end in word.spans)
    ]
