"""A prompt under way: what has been said of what, and how things may be called at that point."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import (
    NUMBER_WORDS,
    PRONOUNS,
    article,
    capitalized,
    participle,
    plain_form,
    plural,
    possessed,
    third_person,
)
from llm4gen_data.densprompts.spec import ATTRIBUTES, Entity, Relation, Spec
from llm4gen_data.densprompts.vocabulary import lexicon

TEXT_PHRASES = ('that reads "{text}"', 'with the words "{text}" on it', 'that says "{text}"', 'lettered "{text}"')
LIVING = ("person", "animal")


@dataclass
class Draft:
    """Sentences so far; `told[i]` are the attributes said of entity `i`, `last` is what a pronoun would mean."""

    spec: Spec
    rng: random.Random
    sentences: list[str] = field(default_factory=list)
    told: dict[int, set[str]] = field(default_factory=dict)  # entities that have been brought in
    said: set[Relation] = field(default_factory=set)
    details: list[str] = field(default_factory=list)  # not yet said
    light_said: bool = False
    style_said: bool = False
    style_detail_said: bool = False
    view_said: bool = False
    last: int | None = None
    may_extend: bool = False  # the last sentence brings something in and can take a clause more
    used: set[str] = field(default_factory=set)

    def choose(self, patterns: Sequence[str]) -> str:
        """One of the patterns, none twice as long as there are others."""
        pattern = self.rng.choice([p for p in patterns if p not in self.used] or list(patterns))
        self.used.add(pattern)
        return pattern

    def say(self, sentence: str, topic: int | None = None) -> None:
        """Add a sentence; afterwards a pronoun means `topic`."""
        self.sentences.append(capitalized(sentence) + ".")
        self.last, self.may_extend = topic, False

    def extend(self, clause: str, topic: int | None = None) -> None:
        """Put a clause behind the last sentence."""
        self.sentences[-1] = self.sentences[-1].removesuffix(".") + clause + "."
        self.last, self.may_extend = topic, False

    def entity(self, i: int) -> Entity:
        """The entity at `i`."""
        return self.spec.entities[i]

    def is_living(self, i: int) -> bool:
        """Whether it is a person or an animal."""
        return lexicon().nouns[self.entity(i).noun].kind in LIVING

    def noun(self, i: int) -> str:
        """The bare noun, in the plural for several."""
        entity = self.entity(i)
        return plural(entity.noun) if entity.count > 1 else entity.noun

    def noun_phrase(self, i: int) -> str:
        """Brings entity `i` in: number, some or all attributes, noun, what is written on it or worn."""
        entity, rng = self.entity(i), self.rng
        attributes = [name for name in ATTRIBUTES if getattr(entity, name) is not None]
        # A third adjective often comes later, in a sentence of its own.
        later = [name for name in ("color", "material") if name in attributes]
        hold_back = {1: 0.0, 2: 0.08, 3: 0.35}.get(len(attributes), 0.5)
        if later and rng.random() < hold_back:
            attributes.remove(rng.choice(later))
        self.told[i] = set(attributes)
        made_of = ""
        if "material" in attributes and len(attributes) > 1 and entity.text is None and rng.random() < 0.15:
            attributes.remove("material")
            made_of = f" made of {entity.material}"
        words = [self.adjective(i, name) for name in attributes]
        if len(words) > 2 and attributes[0] == "size" and rng.random() < 0.4:
            words[0] += ","
        phrase = " ".join([*words, self.noun(i)]) + made_of
        phrase = f"{NUMBER_WORDS[entity.count]} {phrase}" if entity.count > 1 else f"{article(phrase)} {phrase}"
        if entity.text is not None:
            phrase += " " + self.choose(TEXT_PHRASES).format(text=entity.text)
        return phrase + self._worn(i)

    def _worn(self, i: int) -> str:
        worn = [r for r in self.spec.relations if r.name == rel.WEARING and r.subject == i]
        if not worn or self.rng.random() < 0.25:
            return ""
        self.said.add(worn[0])
        return self.rng.choice((" in ", " in ", " wearing ")) + self.noun_phrase(worn[0].object)

    def adjective(self, i: int, attribute: str) -> str:
        """The word for an attribute before the noun."""
        value: str = getattr(self.entity(i), attribute)
        return lexicon().materials[value] if attribute == "material" else value

    def reference(self, i: int) -> str:
        """Names an entity that is known: "the vase", "the blue vase", "the three candles"."""
        entity, words = self.entity(i), [self.noun(i)]
        known = [name for name in ("color", "look", "material", "shape") if name in self.told[i]]
        if known and self.rng.random() < 0.2:
            words.insert(0, self.adjective(i, self.rng.choice(known)))
        elif entity.count > 1 and self.rng.random() < 0.3:
            words.insert(0, NUMBER_WORDS[entity.count])
        return "the " + " ".join(words)

    def subject(self, i: int) -> str:
        """As the subject of a sentence: a pronoun where it is clear, else by name."""
        if self.last == i and self.rng.random() < 0.7:
            return PRONOUNS[self.entity(i).pronoun][0]
        return self.reference(i)

    def is_(self, i: int) -> str:
        """The copula."""
        return "are" if self.entity(i).count > 1 else "is"

    def verb(self, i: int, verb: str) -> str:
        """A verb phrase with entity `i` as its subject: "wags its tail", "are parked"."""
        verb = possessed(verb, self.entity(i).pronoun)
        return plain_form(verb) if self.entity(i).count > 1 else third_person(verb)

    def doing(self, i: int, verb: str) -> str:
        """The same as a participle: "wagging its tail"."""
        return participle(possessed(verb, self.entity(i).pronoun))

    def place(self, i: int) -> str:
        """Where entity `i` is: its place, or its relation to another thing, which then counts as said."""
        entity = self.entity(i)
        if entity.place is not None:
            return entity.place
        relation = next(r for r in self.spec.relations if r.subject == i and r.name in rel.SPATIAL)
        self.said.add(relation)
        other = relation.object
        sided = relation.name in rel.SIDED and self.is_living(other)
        if self.last == other and not sided and self.rng.random() < 0.6:
            _, obj, poss = PRONOUNS[self.entity(other).pronoun]
            return self.rng.choice(rel.SPATIAL_PRONOUN[relation.name]).format(obj=obj, poss=poss)
        return self.rng.choice(rel.SPATIAL[relation.name]).format(ref=self.reference(other))
