"""Quality verdicts as columns: `caption` is cleaned, `caption_raw` never touched, no row is ever deleted."""

from __future__ import annotations

import re
from dataclasses import dataclass

STOCK_OPENINGS = re.compile(
    r"^(?:sure[,!.]\s*|certainly[,!.]\s*)?"
    r"(?:(?:the|this) (?:image|picture|photo|photograph) "
    r"(?:shows|depicts|features|displays|presents|captures|is of|contains)"
    r"|in (?:the|this) (?:image|picture|photo|photograph),?(?: we can see| there (?:is|are))?"
    r"|(?:an?|the) (?:image|picture|photo|photograph) (?:of|showing))\s+",
    re.IGNORECASE,
)
# at the start only: a caption may well quote such words
REFUSAL = re.compile(
    r"^(?:i'?m sorry|i am sorry|sorry,|i can(?:no|')t|i am (?:unable|not able)|i'?m (?:unable|not able)|as an ai)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Gates:
    """Thresholds; words are `len(text.split())`, `max_repeated_4grams` is the share of 4-grams seen before."""

    min_words: int = 3
    max_repeated_4grams: float = 0.3


def clean(caption_raw: str) -> str:
    """The caption without a stock opening such as "The image shows", capitalised again."""
    text = " ".join(caption_raw.split())
    rest = STOCK_OPENINGS.sub("", text, count=1)
    return rest[:1].upper() + rest[1:] if rest and rest != text else text


def reject_reasons(caption_raw: str, finish_reason: str, alt_text: str | None, gates: Gates) -> list[str]:
    """Why a caption should not be trained on; empty if nothing stands out."""
    caption = clean(caption_raw)
    n_words = len(caption.split())
    reasons = []
    if n_words == 0:
        return ["empty"]
    if n_words < gates.min_words:
        reasons.append("too_short")
    if finish_reason == "length":
        reasons.append("cut_off")
    if REFUSAL.match(caption_raw.strip()):
        reasons.append("refusal")
    if repeated_4grams(caption) > gates.max_repeated_4grams:
        reasons.append("repetition")
    if alt_text and caption.casefold().strip(" .") == " ".join(alt_text.split()).casefold().strip(" ."):
        reasons.append("alt_text_echo")
    return reasons


def repeated_4grams(text: str) -> float:
    """The share of word 4-grams that occurred before in the same text, 0 to 1."""
    words = text.casefold().split()
    grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
