"""Figures of a prompt set: lengths, quotas, and how varied its language is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from llm4gen_data.densprompts.build import DensePrompt

NEAR_DUPLICATE = 0.5
BIN_WORDS = 10


def figures(made: Sequence[DensePrompt]) -> dict[str, Any]:
    """Counts by category, skill and length, words a prompt, lexical variety and near-duplicates, as JSON values."""
    lengths = [dense.prompt.n_words for dense in made]
    texts = [re.findall(r"[\w'-]+", dense.prompt.prompt.lower()) for dense in made]
    nouns = {entity.noun for dense in made for entity in dense.spec.entities}
    return {
        "categories": _counts(dense.spec.category for dense in made),
        "skills": _counts(dense.spec.skill for dense in made),
        "lengths": _counts(dense.spec.length for dense in made),
        "words": {
            "mean": round(fmean(lengths), 1),
            "deviation": round(pstdev(lengths), 1),
            "median": median(lengths),
            "min": min(lengths),
            "max": max(lengths),
        },
        "histogram": {
            f"{low}-{low + BIN_WORDS - 1}": sum(low <= n < low + BIN_WORDS for n in lengths)
            for low in range(min(lengths) // BIN_WORDS * BIN_WORDS, max(lengths) + 1, BIN_WORDS)
        },
        "n_entities": _counts(str(len(dense.spec.entities)) for dense in made),
        "n_questions": sum(len(dense.questions) for dense in made),
        "question_kinds": _counts(question.kind for dense in made for question in dense.questions),
        "distinct_nouns": len(nouns),
        "distinct_words": len({word for words in texts for word in words}),
        "distinct_2": _distinct(texts, 2),
        "distinct_4": _distinct(texts, 4),
        "similarity_max": round(max(dense.similarity for dense in made), 3),
        "near_duplicate_share": round(fmean(dense.similarity > NEAR_DUPLICATE for dense in made), 4),
        "colors": dict(Counter(e.color for dense in made for e in dense.spec.entities if e.color).most_common()),
    }


def _distinct(texts: Iterable[Sequence[str]], n: int) -> float:
    """Distinct word n-grams as a share of all, over the first 72,000 words (the size of DPG-Bench)."""
    grams: list[tuple[str, ...]] = []
    n_words = 0
    for words in texts:
        if n_words >= 72_000:
            break
        n_words += len(words)
        grams += zip(*(words[i:] for i in range(n)), strict=False)
    return round(len(set(grams)) / max(1, len(grams)), 3)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
