"""Hold a prompt against its specification: everything that it should say is there, and it is sound English.

The checks read the text alone. They know the words for things, not how a writer put them together, so any writer's
text can be checked. An attribute counts for a thing if it stands before the thing's name ("a small red cup"), or
behind it in the sentence ("the cup is red"), or in a sentence after it whose pronoun can mean the thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import (
    NUMBER_WORDS,
    PRONOUNS,
    article,
    participle,
    plain_form,
    plural,
    possessed,
    third_person,
)
from llm4gen_data.densprompts.spec import ATTRIBUTES, LENGTHS, Entity, Relation, Spec
from llm4gen_data.densprompts.vocabulary import lexicon

_FIRST_PERSON = re.compile(r"\b(?:I|me|my|mine|we|us|our|ours)\b")
_LISTS = re.compile(r"^\s*(?:[-*•]|\d+[.)])|\n", re.MULTILINE)
# Words that are right twice in a row.
_MAY_DOUBLE = frozenset({"that", "had"})
_TOKEN = re.compile(r"[\w'’-]+|[,;:.!?\"]")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a prompt is refused: a reason to count by, and what exactly is missing or wrong."""

    reason: str
    what: str


def check(prompt: str, spec: Spec) -> list[Problem]:
    """Everything that is wrong with a prompt; none if it may be kept."""
    return [*check_language(prompt), *_check_length(prompt, spec), *_check_content(prompt, spec)]


def sentences(prompt: str) -> list[str]:
    """The prompt's sentences, each with its stop; quoted words do not end one."""
    return re.split(r"(?<=[.!?])\s+", prompt.strip())


def check_language(prompt: str) -> list[Problem]:
    """Articles, doubled words, capitals and stops, first person, lists."""
    problems = []
    for match in re.finditer(r"\b(a|an) ([\w'’-]+)", re.sub(r'"[^"]*"', "", prompt), re.IGNORECASE):
        if match[1].lower() != article(match[2]):
            problems.append(Problem("article", match[0]))
    for match in re.finditer(r"\b([\w'’-]+) \1\b", prompt, re.IGNORECASE):
        if match[1].lower() not in _MAY_DOUBLE:
            problems.append(Problem("doubled word", match[0]))
    for sentence in sentences(prompt):
        if not re.match(r"[A-Z0-9]", sentence):
            problems.append(Problem("capital", sentence[:40]))
        if not sentence.endswith((".", "!", "?")):
            problems.append(Problem("stop", sentence[-40:]))
    if re.search(r"\s[,.;:]|,,|\.\.|\s{2,}", prompt):
        problems.append(Problem("punctuation", prompt[:40]))
    if _FIRST_PERSON.search(re.sub(r'"[^"]*"', "", prompt)):
        problems.append(Problem("first person", prompt[:40]))
    if _LISTS.search(prompt):
        problems.append(Problem("list", prompt[:40]))
    return problems


def _check_length(prompt: str, spec: Spec) -> list[Problem]:
    low, high = LENGTHS[spec.length]
    n_words = len(prompt.split())
    return [] if low <= n_words <= high else [Problem("length", f"{n_words} words, expected {low} to {high}")]


def _check_content(prompt: str, spec: Spec) -> list[Problem]:
    reader = _Reader(prompt, spec)
    problems = []
    for i, entity in enumerate(spec.entities):
        if not reader.mentions[i]:
            problems.append(Problem("entity", entity.noun))
            continue
        if entity.count > 1 and not reader.counts(i):
            problems.append(Problem("count", f"{entity.count} {entity.noun}"))
        for attribute in ATTRIBUTES:
            value = getattr(entity, attribute)
            if value is not None and not reader.has(i, _attribute_words(attribute, value)):
                problems.append(Problem("attribute", f"{value} {entity.noun}"))
        if entity.action is not None and not reader.together(i, None, _verb_forms(entity, entity.action)):
            problems.append(Problem("action", f"{entity.noun}: {entity.action}"))
        if entity.place is not None and not reader.together(i, None, [entity.place]):
            problems.append(Problem("place", f"{entity.noun} {entity.place}"))
        if entity.text is not None and f'"{entity.text}"' not in prompt:
            problems.append(Problem("text", entity.text))
    for relation in spec.relations:
        if not reader.relates(relation):
            names = (spec.entities[relation.subject].noun, relation.name, spec.entities[relation.object].noun)
            problems.append(Problem("relation", " ".join(names)))
    told = prompt.lower()
    style = None if spec.style is None else spec.style.partition(" ")[2]
    ground = spec.setting.partition(" ")[2]
    for claim in (ground, spec.light, style, spec.style_detail, spec.view, *spec.details):
        if claim is not None and claim.lower() not in told:
            problems.append(Problem("scene", claim))
    return problems


def _attribute_words(attribute: str, value: str | None) -> list[str]:
    if value is None:
        return []
    return [value, lexicon().materials[value]] if attribute == "material" else [value]


def _verb_forms(entity: Entity, verb: str) -> list[str]:
    verb = possessed(verb, entity.pronoun)
    return [plain_form(verb) if entity.count > 1 else third_person(verb), participle(verb)]


class _Reader:
    """A prompt cut into sentences of words and marks, with the places where each entity is named."""

    def __init__(self, prompt: str, spec: Spec) -> None:
        self.spec = spec
        self.sentences = [_tokens(sentence) for sentence in sentences(prompt)]
        self.nouns = [_tokens(plural(e.noun) if e.count > 1 else e.noun) for e in spec.entities]
        # mentions[i]: (sentence, start, end) of each time entity i is named
        self.mentions = [
            [(s, at, at + len(noun)) for s, words in enumerate(self.sentences) for at in _find(words, noun)]
            for noun in self.nouns
        ]
        self.modifiers = {",", *NUMBER_WORDS.values()}
        for entity in spec.entities:
            for attribute in ATTRIBUTES:
                for value in _attribute_words(attribute, getattr(entity, attribute)):
                    self.modifiers.update(_tokens(value))

    def starts_noun(self, s: int, at: int, i: int) -> bool:
        """Whether entity `i` is named from here on, with at most attributes before its noun."""
        words = self.sentences[s]
        while at < len(words) and words[at] in self.modifiers:
            if (s, at, at + len(self.nouns[i])) in self.mentions[i]:
                return True
            at += 1
        return (s, at, at + len(self.nouns[i])) in self.mentions[i]

    def counts(self, i: int) -> bool:
        """Whether the number stands before the noun of entity `i`, with nothing but attributes between."""
        number = [NUMBER_WORDS[self.spec.entities[i].count]]
        return any(
            self.starts_noun(s, at + 1, i) for s, words in enumerate(self.sentences) for at in _find(words, number)
        )

    def has(self, i: int, values: list[str]) -> bool:
        """Whether one of `values` is said of entity `i`."""
        return any(
            self._owner(s, at, at + len(phrase), i)
            for phrase in map(_tokens, values)
            for s, words in enumerate(self.sentences)
            for at in _find(words, phrase)
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
            for phrase in map(_tokens, phrases)
            for s, words in enumerate(self.sentences)
            if _find(words, phrase)
        )

    def leads_to(self, i: int, j: int, phrases: list[str]) -> bool:
        """Whether one of the phrases stands right before entity `j`'s name, in a sentence that speaks of `i`."""
        return any(
            self.present(s, i) and self.starts_noun(s, at + len(phrase), j)
            for phrase in map(_tokens, phrases)
            for s, words in enumerate(self.sentences)
            for at in _find(words, phrase)
        )

    def relates(self, relation: Relation) -> bool:
        """Whether the text says the relation, in any of its wordings."""
        a, b = relation.subject, relation.object
        if relation.name in rel.SPATIAL:
            _, obj, poss = PRONOUNS[self.spec.entities[b].pronoun]
            by_pronoun = [phrase.format(obj=obj, poss=poss) for phrase in rel.SPATIAL_PRONOUN[relation.name]]
            by_name = [
                phrase.format(ref=ref).strip()
                for phrase in rel.SPATIAL[relation.name]
                for ref in ("the", "a", "an", "")
            ]
            return self.leads_to(a, b, by_name) or self.together(a, b, by_pronoun)
        if relation.name in rel.INTERACTIONS:
            forms = _verb_forms(self.spec.entities[a], rel.INTERACTIONS[relation.name])
            return self.leads_to(a, b, [f"{form} the" for form in forms])
        if relation.name == rel.WEARING:
            return self.leads_to(
                a, b, [f"{verb} {a_}" for verb in ("in", "wearing", "wears", "has") for a_ in ("a", "an")]
            )
        if relation.name == rel.HOLDING:
            held = self.leads_to(a, b, [f"{verb} {a_}" for verb in ("holds", "carries") for a_ in ("a", "an")])
            return held or self.together(a, b, ["rests in her hands", "rests in his hands"])
        if relation.name == "more numerous than":
            more = " ".join(["more", *self.nouns[a], "than"])
            return self.leads_to(a, b, ["outnumber the", "outnumber", more])
        return self.leads_to(a, b, [f"{phrase} the" for phrase in rel.COMPARISONS[relation.name]])


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _find(words: list[str], phrase: list[str]) -> list[int]:
    """Where `phrase` begins in `words`."""
    first, n = phrase[0], len(phrase)
    return [at for at, word in enumerate(words) if word == first and words[at : at + n] == phrase]
