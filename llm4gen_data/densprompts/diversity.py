"""How varied the language of a prompt set is, on samples of one size so that sets of any size compare."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from statistics import fmean
from typing import Any

SAMPLE_WORDS = 72_000
N_SAMPLES = 5
# DPG-Bench (ELLA, arXiv 2403.05135), all 1,065 prompts, 71,523 words, counted by `sample_diversity`.
DPG_BENCH = {"distinct_words": 7489, "distinct_2": 0.505, "distinct_4": 0.936, "zlib_ratio": 3.01}


def words_of(prompt: str) -> list[str]:
    """The words in lower case; what a hyphen or apostrophe joins is one."""
    return re.findall(r"[\w'-]+", prompt.lower())


def diversity(prompts: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Mean and worst of `sample_diversity` over N_SAMPLES random samples of SAMPLE_WORDS words.

    Where the prompts hold no more words than that, there is one sample: all of them.
    """
    rng = random.Random(f"diversity-{seed}")
    n_words = sum(len(prompt.split()) for prompt in prompts)
    samples = [_sample(prompts, rng) for _ in range(N_SAMPLES)] if n_words > SAMPLE_WORDS else [list(prompts)]
    measured = [sample_diversity(sample) for sample in samples]
    worst = {name: max if name == "zlib_ratio" else min for name in DPG_BENCH}
    return {
        "sample_words": min(SAMPLE_WORDS, n_words),
        "n_samples": len(samples),
        "mean": {name: round(fmean(m[name] for m in measured), 3) for name in DPG_BENCH},
        "worst": {name: worst[name](m[name] for m in measured) for name in DPG_BENCH},
    }


def sample_diversity(prompts: Sequence[str]) -> dict[str, float]:
    """Different words; different runs of 2 and 4 words as a share of all; bytes over those that zlib (9) needs."""
    texts = [words_of(prompt) for prompt in prompts]
    together = "\n".join(prompts).encode()
    return {
        "distinct_words": len({word for words in texts for word in words}),
        "distinct_2": _distinct(texts, 2),
        "distinct_4": _distinct(texts, 4),
        "zlib_ratio": round(len(together) / len(zlib.compress(together, 9)), 3),
    }


def _sample(prompts: Sequence[str], rng: random.Random) -> list[str]:
    """Prompts in random order until they hold SAMPLE_WORDS words."""
    taken, n_words = [], 0
    for prompt in rng.sample(prompts, len(prompts)):
        if n_words >= SAMPLE_WORDS:
            break
        taken.append(prompt)
        n_words += len(prompt.split())
    return taken


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    grams = [gram for words in texts for gram in zip(*(words[i:] for i in range(n)), strict=False)]
    return round(len(set(grams)) / max(1, len(grams)), 3)
