"""Near-duplicates: exact Jaccard similarity of prompts' word n-grams, by an inverted index."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache

SHINGLE_WORDS = 5
# Prompts share less than this of their shingles (Jaccard), with each other and with public sets.
MAX_SIMILARITY = 0.2


def normalized(prompt: str) -> str:
    """Lower case, without punctuation: prompts that are equal so are the same prompt."""
    return " ".join(re.findall(r"[\w'-]+", prompt.lower()))


@lru_cache(maxsize=16)  # the same prompt is held against several sets in turn
def shingles(prompt: str) -> frozenset[str]:
    """The prompt's runs of SHINGLE_WORDS words."""
    words = normalized(prompt).split()
    return frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


@dataclass
class Neighbors:
    """The prompts so far, numbered from 0, and which shingles they hold."""

    sizes: list[int] = field(default_factory=list)
    holders: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[str, int] = field(default_factory=dict)

    def nearest(self, prompt: str) -> float:
        """The largest Jaccard similarity of the prompt with one so far; 1.0 for an equal text."""
        return self.closest(prompt)[0]

    def closest(self, prompt: str) -> tuple[float, int | None]:
        """The largest Jaccard similarity of the prompt with one so far, and that one's number; (0.0, None) if none.

        Prompts with fewer than SHINGLE_WORDS words are only ever equal or not.
        """
        text = normalized(prompt)
        if text in self.texts:
            return 1.0, self.texts[text]
        own = shingles(prompt)
        shared = self.shared(own)
        return max(((n / (len(own) + self.sizes[i] - n), i) for i, n in shared.items()), default=(0.0, None))

    def contained(self, prompt: str) -> list[int]:
        """The prompts so far all of whose shingles are in this one: quoted whole, or nearly so."""
        return sorted(i for i, n in self.shared(shingles(prompt)).items() if n == self.sizes[i])

    def shared(self, own: frozenset[str]) -> Counter[int]:
        """How many of these shingles each prompt so far holds; those that hold none are left out."""
        return Counter(index for shingle in own for index in self.holders.get(shingle, ()))

    def add(self, prompt: str) -> None:
        """Take the prompt up among those so far."""
        own = shingles(prompt)
        for shingle in own:
            self.holders[shingle].append(len(self.sizes))
        self.texts.setdefault(normalized(prompt), len(self.sizes))
        self.sizes.append(len(own))
