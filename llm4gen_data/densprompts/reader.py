"""Read a prompt: where it names the things of a specification, and what it says of each.

An attribute counts for a thing if it stands before the thing's name ("a small red cup"), or behind it in the sentence
("the cup is red"), or in a sentence after it whose pronoun can mean the thing. A thing may be called by another name
once it is known ("the animal", see `coreference.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache

from llm4gen_data.densprompts.coreference import other_names
from llm4gen_data.densprompts.inflect import NUMBER_WORDS, PRONOUNS, plural
from llm4gen_data.densprompts.language import sentences
from llm4gen_data.densprompts.spec import ATTRIBUTES, Spec
from llm4gen_data.densprompts.vocabulary import lexicon

_TOKEN = re.compile(r"[\w'’-]+|[,;:.!?\"]")


class Reader:
    """A prompt cut into sentences of words and marks, with the places where each entity is named."""

    def __init__(self, prompt: str, spec: Spec) -> None:
        self.spec = spec
        self.sentences = [tokens(sentence) for sentence in sentences(prompt)]
        self.at: dict[str, list[tuple[int, int]]] = defaultdict(list)  # where each word stands
        for s, words in enumerate(self.sentences):
            for at, word in enumerate(words):
                self.at[word].append((s, at))
        self.nouns = [tokens(plural(e.noun) if e.count > 1 else e.noun) for e in spec.entities]
        # mentions[i]: (sentence, start, end) of each time entity i is named
        self.mentions = [
            [*self._places(noun), *((s, at + 1, end) for name in others for s, at, end in self._places(["the", name]))]
            for noun, others in zip(self.nouns, other_names(spec), strict=True)
        ]
        self.starts = [{(s, start) for s, start, _ in places} for places in self.mentions]
        self.modifiers = {",", *NUMBER_WORDS.values()}
        for entity in spec.entities:
            for attribute in ATTRIBUTES:
                for value in attribute_words(attribute, getattr(entity, attribute)):
                    self.modifiers.update(tokens(value))

    def _places(self, phrase: list[str]) -> list[tuple[int, int, int]]:
        """(sentence, start, end) of each time the phrase stands in the prompt."""
        n = len(phrase)
        return [(s, at, at + n) for s, at in self.at.get(phrase[0], ()) if self.sentences[s][at : at + n] == phrase]

    def starts_noun(self, s: int, at: int, i: int) -> bool:
        """Whether entity `i` is named from here on, with at most attributes before its noun."""
        words, starts = self.sentences[s], self.starts[i]
        while (s, at) not in starts:
            if at >= len(words) or words[at] not in self.modifiers:
                return False
            at += 1
        return True

    def counts(self, i: int) -> bool:
        """Whether the number stands before the noun of entity `i`, with nothing but attributes between."""
        number = [NUMBER_WORDS[self.spec.entities[i].count]]
        return any(self.starts_noun(s, end, i) for s, _, end in self._places(number))

    def disagrees(self, i: int) -> str | None:
        """A sentence's beginning in which entity `i`, one thing, "are", or several "is"; None if there is none."""
        wrong = {"is", "has", "was"} if self.spec.entities[i].count > 1 else {"are", "have", "were"}
        for s, start, end in self.mentions[i]:
            words = self.sentences[s]
            if end < len(words) and words[end] in wrong and words[0] == "the" and self.starts_noun(s, 1, i):
                return " ".join(words[: end + 1]) if not {",", "and"} & set(words[:start]) else None
        return None

    def has(self, i: int, values: list[str]) -> bool:
        """Whether one of `values` is said of entity `i`."""
        return any(
            self._owner(s, start, end, i) for phrase in map(tokens, values) for s, start, end in self._places(phrase)
        )

    def _owner(self, s: int, start: int, end: int, i: int) -> bool:
        """Whether an attribute at this position belongs to entity `i`."""
        ahead = [j for j in range(len(self.nouns)) if self.starts_noun(s, end, j)]
        if ahead:
            return i in ahead
        before = [(p[2], j) for j, places in enumerate(self.mentions) for p in places if p[0] == s and p[2] <= start]
        if before:
            return max(before)[1] == i
        return self._by_pronoun(s, i)

    def _by_pronoun(self, s: int, i: int) -> bool:
        """Whether a pronoun in sentence `s` can mean entity `i`.

        It can if the last sentence that names anything names it, or only sentences with the same pronoun lie between.
        """
        pronouns = set(PRONOUNS[self.spec.entities[i].pronoun])
        if not pronouns & set(self.sentences[s]):
            return False
        for back in range(s - 1, -1, -1):
            if any(p[0] == back for p in self.mentions[i]):
                return True
            names_others = any(p[0] == back for places in self.mentions for p in places)
            if names_others and not pronouns & set(self.sentences[back]):
                return False
        return False

    def present(self, s: int, i: int) -> bool:
        """Whether sentence `s` speaks of entity `i`, by name or by pronoun."""
        return any(p[0] == s for p in self.mentions[i]) or self._by_pronoun(s, i)

    def together(self, i: int, j: int | None, phrases: list[str]) -> bool:
        """Whether a sentence has one of the phrases and speaks of entity `i` (and of `j`)."""
        return any(
            self.present(s, i) and (j is None or self.present(s, j))
            for phrase in map(tokens, phrases)
            for s, _, _ in self._places(phrase)
        )

    def leads_to(self, i: int, j: int, phrases: list[str]) -> bool:
        """Whether one of the phrases stands right before entity `j`'s name, in a sentence that speaks of `i`."""
        return any(
            self.present(s, i) and self.starts_noun(s, end, j)
            for phrase in map(tokens, phrases)
            for s, _, end in self._places(phrase)
        )


def attribute_words(attribute: str, value: str | None) -> list[str]:
    """How an attribute's value may stand in a text: a material also as the adjective that it makes."""
    if value is None:
        return []
    return [value, lexicon().materials[value]] if attribute == "material" else [value]


@lru_cache(maxsize=4096)
def tokens(text: str) -> list[str]:
    """Words and marks, in lower case."""
    return _TOKEN.findall(text.lower())
