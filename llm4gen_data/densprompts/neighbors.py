"""Near-duplicates: exact Jaccard similarity of prompts' word n-grams, by an inverted index."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

SHINGLE_WORDS = 5


def normalized(prompt: str) -> str:
    """Lower case, without punctuation: prompts that are equal so are the same prompt."""
    return " ".join(re.findall(r"[\w'-]+", prompt.lower()))


def shingles(prompt: str) -> frozenset[str]:
    """The prompt's runs of SHINGLE_WORDS words."""
    words = normalized(prompt).split()
    return frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


@dataclass
class Neighbors:
    """The prompts so far, and which shingles they hold."""

    sizes: list[int] = field(default_factory=list)
    holders: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    texts: set[str] = field(default_factory=set)

    def nearest(self, prompt: str) -> float:
        """The largest Jaccard similarity of the prompt with one so far; 1.0 for an equal text."""
        if normalized(prompt) in self.texts:
            return 1.0
        own = shingles(prompt)
        shared = Counter(index for shingle in own for index in self.holders.get(shingle, ()))
        return max((n / (len(own) + self.sizes[index] - n) for index, n in shared.items()), default=0.0)

    def add(self, prompt: str) -> None:
        """Take the prompt up among those so far."""
        own = shingles(prompt)
        for shingle in own:
            self.holders[shingle].append(len(self.sizes))
        self.sizes.append(len(own))
        self.texts.add(normalized(prompt))
