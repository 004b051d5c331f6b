"""Whether a text is in the language it should be, by py3langid (naive Bayes over byte n-grams, 140 languages)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from llm4gen_data.errors import UserError

# The start of a text tells its language; the recogniser's time grows with the length.
RECOGNISED_CHARACTERS = 120
# English words that are words of no other large language in Latin letters: enough of them settle it, and most
# captions need no recogniser (20 times as fast).
ENGLISH_WORDS = frozenset(
    "the and with which of are its there their this that from while behind above below between beside on".split()  # noqa: SIM905
)
ENGLISH_SHARE = 0.15
# The recogniser's code for numbers and codes, which are in no language.
NO_LANGUAGE = "zxx"
_LOADING = threading.Lock()


def other_language(text: str, words: Sequence[str], language: str, min_confidence: float) -> bool:
    """Whether `text` (of these `words`) is in another language than `language` (ISO 639) with that confidence.

    Short texts give low confidences and so pass. Raises UserError if there is no recogniser.
    """
    if language == "en" and sum(word in ENGLISH_WORDS for word in words) > max(1, ENGLISH_SHARE * len(words)):
        return False
    found, confidence = _recogniser().classify(text[:RECOGNISED_CHARACTERS])
    return bool(found not in (language, NO_LANGUAGE) and confidence >= min_confidence)


def check_language(language: str) -> None:
    """Raise UserError for a language that the recogniser does not know, or if there is no recogniser."""
    known = _recogniser().labels
    if language not in known:
        raise UserError(f"gates.language = {language!r}: expected one of {', '.join(sorted(known))}")


def _recogniser() -> Any:
    with _LOADING:  # shards are committed in threads, and each would load it
        return _load()


@cache
def _load() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise UserError("the language gate needs the package py3langid; gates.language=null does without") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
