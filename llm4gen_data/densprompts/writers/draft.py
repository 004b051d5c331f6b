"""A prompt under way: what has been said of what, and the sentences so far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import capitalized
from llm4gen_data.densprompts.spec import Entity, Relation, Spec
from llm4gen_data.densprompts.vocabulary import Noun, lexicon

LIVING = ("person", "animal")
# A sentence of more words takes no further clause.
MAX_WORDS_BEFORE_CLAUSE = 14
OWNED = (rel.WEARING, rel.HOLDING)


@dataclass
class Draft:
    """Sentences so far; `told[i]` are the facts said of entity `i`, `last` is what a pronoun would mean."""

    spec: Spec
    rng: random.Random
    other_names: tuple[tuple[str, ...], ...]
    details: list[str]  # not yet said
    sentences: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)  # the plan of each sentence
    told: dict[int, set[str]] = field(default_factory=dict)  # entities that have been brought in
    said: set[Relation] = field(default_factory=set)
    placed: set[int] = field(default_factory=set)  # whose own place has been said
    acted: set[int] = field(default_factory=set)  # whose own action has been said
    scene_said: set[str] = field(default_factory=set)  # of setting, light, style, style_detail, view
    last: int | None = None
    named: list[int] = field(default_factory=list)  # in the sentence under way
    may_extend: bool = False  # the last sentence brings something in and can take a clause more
    used: set[str] = field(default_factory=set)

    def choose(self, plans: Sequence[str]) -> str:
        """One of the plans, none twice as long as there are others."""
        plan = self.rng.choice([p for p in plans if p not in self.used] or list(plans))
        self.used.add(plan)
        return plan

    def say(self, sentence: str, plan: str, topic: int | None = None) -> None:
        """Add a sentence; afterwards a pronoun means `topic`."""
        self.sentences.append(capitalized(sentence) + ".")
        self.plans.append(plan)
        self.last, self.named, self.may_extend = topic, [], False

    def extend(self, clause: str, plan: str, topic: int | None = None) -> None:
        """Put a clause behind the last sentence."""
        self.sentences[-1] = self.sentences[-1].removesuffix(".") + clause + "."
        self.plans[-1] += plan
        self.last, self.named, self.may_extend = topic, [], False

    def entity(self, i: int) -> Entity:
        """The entity at `i`."""
        return self.spec.entities[i]

    def lexeme(self, i: int) -> Noun:
        """What the lexicon knows of entity `i`."""
        return lexicon().nouns[self.entity(i).noun]

    def is_living(self, i: int) -> bool:
        """Whether it is a person or an animal."""
        return self.lexeme(i).kind in LIVING

    def place_relation(self, i: int) -> Relation | None:
        """The relation by which entity `i` has its place, unless that is a phrase of its own."""
        if self.entity(i).place is not None:
            return None
        return next((r for r in self.spec.relations if r.subject == i and r.name in rel.SPATIAL), None)

    def is_placed(self, i: int) -> bool:
        """Whether it has been said where the entity is, as far as the specification tells."""
        relation = self.place_relation(i)
        if relation is not None:
            return relation in self.said
        return self.entity(i).place is None or i in self.placed

    def interaction(self, i: int) -> Relation | None:
        """What entity `i` does to a thing that is known, unless it has been said."""
        for r in self.spec.relations:
            if r.subject == i and r.name in rel.INTERACTIONS and r not in self.said and r.object in self.told:
                return r
        return None

    def acts(self, i: int) -> bool:
        """Whether there is something left to say of what entity `i` does."""
        own = self.entity(i).action is not None and i not in self.acted
        return own or self.interaction(i) is not None

    def missing(self, i: int, fact: str) -> bool:
        """Whether a fact of entity `i` (a field of Entity) has yet to be said."""
        return getattr(self.entity(i), fact) is not None and fact not in self.told[i]


def is_simple(sentence: str) -> bool:
    """Whether a sentence can take a clause more: short, and of one clause so far."""
    return n_words(sentence) <= MAX_WORDS_BEFORE_CLAUSE and not {",", ";", ":"} & set(sentence)


def n_words(sentence: str) -> int:
    """Words of a sentence, as many for "in front of" as for "behind": a twin with the other takes the same plans."""
    return len(sentence.replace("in front of", "behind").split())
