"""Phrases: how a thing is brought in, how it is called later, where it is, what it does."""

from __future__ import annotations

import re
from collections.abc import Collection

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
from llm4gen_data.densprompts.spec import ATTRIBUTES
from llm4gen_data.densprompts.vocabulary import lexicon
from llm4gen_data.densprompts.writers.draft import Draft

TEXT_PHRASES = (
    'that reads "{text}"',
    'with the words "{text}" on it',
    'that says "{text}"',
    'lettered "{text}"',
    'reading "{text}"',
    'bearing the words "{text}"',
    'inscribed "{text}"',
)
# What else may be said for how a thing stands or lies, by its kind of place.
POSTURES = {
    ("surface", "stand"): ("stand", "stand", "sit", "rest"),
    ("surface", "lie"): ("lie", "lie", "rest"),
    ("surface", "rest"): ("rest", "lie"),
    ("floor", "stand"): ("stand", "stand", "stand", "sit"),
}
# Verbs of doing that no standing or lying goes together with: who sleeps does not stand.
_MOVES = (
    "bask|coil|crawl|crouch|dart|dive|doze|drift|float|fly|gallop|glide|hop|hover|huddle|hurry|jump|kneel|leap|leave"
    "|lie|march|paddle|perch|prowl|rest|ride|rise|roll|run|rush|sit|skip|sleep|slide|slither|soar|stand|step|stride"
    "|stroll|strut|swim|swoop|trot|tumble|wade|walk|wallow|wander|be|cling|climb|dance|hang|move|root|circle|lean|sprawl"
    "|nap|curl|scurry|stumble|pass|cross|drag|pull|push|chase|swing|kick|stalk|pounce|amble|lounge|squat|skate|cycle"
)
# Of which one says "a vase of glass"; of others only with a color: "a coat of red wool".
_SOLID = frozenset(
    ["stone", "marble", "granite", "bronze", "brass", "copper", "iron", "glass", "crystal", "oak", "silk", "porcelain"]
)
_MOVING = re.compile(rf"(?:{_MOVES})\b")


def bare_noun(draft: Draft, i: int) -> str:
    """The noun alone, in the plural for several."""
    entity = draft.entity(i)
    return plural(entity.noun) if entity.count > 1 else entity.noun


def adjective(draft: Draft, i: int, attribute: str) -> str:
    """The word for an attribute before the noun."""
    value: str = getattr(draft.entity(i), attribute)
    return lexicon().materials[value] if attribute == "material" else value


def noun_phrase(draft: Draft, i: int, plain: bool = False, last: bool = False, worn: bool = False) -> str:
    """Brings entity `i` in: number, some or all attributes, noun, what it is made of, written, worn, or part of it.

    A `plain` phrase has no "with" or "in" of its own, a `worn` thing's no "in"; the `last` one of a sentence may take
    two adjectives behind it.
    """
    entity, rng = draft.entity(i), draft.rng
    attributes = [name for name in ATTRIBUTES if getattr(entity, name) is not None]
    # A third adjective often comes later, in a sentence of its own.
    later = [name for name in ("color", "material") if name in attributes]
    if later and rng.random() < {1: 0.0, 2: 0.05, 3: 0.28}.get(len(attributes), 0.5):
        attributes.remove(rng.choice(later))
    draft.told[i] = set(attributes)
    draft.named.append(i)
    behind = "" if entity.text is not None else _made_of(draft, i, attributes, plain or worn)
    if (
        last
        and not behind
        and entity.text is None
        and len(attributes) > 1
        and "material" not in attributes[-2:]
        and rng.random() < 0.15
    ):
        behind = f", {adjective(draft, i, attributes[-2])} and {adjective(draft, i, attributes[-1])}"
        attributes = attributes[:-2]
    words = [adjective(draft, i, name) for name in attributes]
    if len(words) > 2 and attributes[0] == "size" and rng.random() < 0.4:
        words[0] += ","
    phrase = " ".join([*words, bare_noun(draft, i)]) + behind
    phrase = f"{NUMBER_WORDS[entity.count] if entity.count > 1 else article(phrase)} {phrase}"
    if entity.text is not None:
        phrase += " " + draft.choose(TEXT_PHRASES).format(text=entity.text)
    if plain:
        return phrase
    clothes = _clothes(draft, i) if not behind.startswith(",") else ""
    hidden = clothes or behind.startswith(",") or entity.text is not None
    if entity.part is not None and not hidden and rng.random() < 0.97:
        draft.told[i].add("part")
        return f"{phrase} with {entity.part}"
    return phrase + clothes


def _made_of(draft: Draft, i: int, attributes: list[str], plain: bool) -> str:
    """ " of white marble" instead of the adjectives, now and then; takes what it says off `attributes`."""
    entity, rng = draft.entity(i), draft.rng
    if "material" not in attributes or entity.noun.count(" of ") or rng.random() >= 0.25:
        return ""
    attributes.remove("material")
    material = entity.material
    if "color" in attributes and rng.random() < 0.7:
        attributes.remove("color")
        material = f"{entity.color} {material}"
    ways = [" made of "]
    ways += [" of "] if entity.material in _SOLID or material != entity.material else []
    ways += [" in "] if material != entity.material and not plain else []
    return rng.choice(ways) + str(material)


def _clothes(draft: Draft, i: int) -> str:
    worn = [r for r in draft.spec.relations if r.name == rel.WEARING and r.subject == i]
    if not worn or draft.rng.random() < 0.2:
        return ""
    draft.said.add(worn[0])
    way = draft.rng.choice((" in ", " in ", " wearing ", " dressed in "))
    return way + noun_phrase(draft, worn[0].object, worn=True)


def reference(draft: Draft, i: int, without: Collection[str] = ()) -> str:
    """Names an entity that is known: "the vase", "the blue vase", "the three candles"; `without` these attributes."""
    entity, rng, words = draft.entity(i), draft.rng, [bare_noun(draft, i)]
    known = [name for name in ("color", "look", "material", "shape") if name in draft.told[i] and not without]
    # What is left to say of it can be said in passing.
    unsaid = [name for name in ("color", "material") if draft.missing(i, name) and name not in without]
    draw = rng.random()
    if unsaid and draw < 0.45:
        name = rng.choice(unsaid)
        draft.told[i].add(name)
        words.insert(0, adjective(draft, i, name))
    elif known and draw < 0.16:
        words.insert(0, adjective(draft, i, rng.choice(known)))
    elif entity.count > 1 and draw < 0.35:
        words.insert(0, NUMBER_WORDS[entity.count])
    draft.named.append(i)
    return "the " + " ".join(words)


def subject(draft: Draft, i: int, without: Collection[str] = ()) -> str:
    """As the subject of a sentence: a pronoun or another name where it is clear, else by name."""
    if draft.last == i:
        draw = draft.rng.random()
        if draw < 0.6:
            return PRONOUNS[draft.entity(i).pronoun][0]
        if draw < 0.85 and draft.other_names[i]:
            return f"the {draft.rng.choice(draft.other_names[i])}"
    return reference(draft, i, without)


def verb(draft: Draft, i: int, phrase: str) -> str:
    """A verb phrase with entity `i` as its subject: "wags its tail", "are parked"."""
    phrase = possessed(phrase, draft.entity(i).pronoun)
    return plain_form(phrase) if draft.entity(i).count > 1 else third_person(phrase)


def doing(draft: Draft, i: int, phrase: str) -> str:
    """The same as a participle: "wagging its tail"."""
    return participle(possessed(phrase, draft.entity(i).pronoun))


def posture(draft: Draft, i: int) -> str:
    """How entity `i` is there, in the base form: "stand", "be parked"."""
    own = draft.entity(i).posture or "stand"
    if draft.is_living(i) or draft.lexeme(i).kind not in ("object", "food", "vehicle"):
        return own
    return draft.rng.choice(POSTURES.get((draft.lexeme(i).where, own), (own,)))


def action(draft: Draft, i: int) -> str:
    """What entity `i` does, in the base form, which then counts as said: "wag its tail", "look at the vase"."""
    own = draft.entity(i).action
    if own is not None and i not in draft.acted:
        draft.acted.add(i)
        return own
    relation = draft.interaction(i)
    if relation is None:
        raise LookupError(f"{draft.entity(i).noun} does nothing that is left to say")
    draft.said.add(relation)
    return f"{rel.INTERACTIONS[relation.name]} {reference(draft, relation.object)}"


def stands_still(draft: Draft, i: int) -> bool:
    """Whether entity `i` can be said to stand, sit or lie beside what it does."""
    own = draft.entity(i).action
    named = [rel.INTERACTIONS[r.name] for r in draft.spec.relations if r.subject == i and r.name in rel.INTERACTIONS]
    return not any(_MOVING.match(phrase) for phrase in (own, *named) if phrase is not None)


def where(draft: Draft, i: int, by_pronoun: bool = False) -> str:
    """Where entity `i` is: its place, or its relation to another thing; it then counts as said."""
    relation = draft.place_relation(i)
    if relation is None:
        draft.placed.add(i)
        return str(draft.entity(i).place)
    draft.said.add(relation)
    other = relation.object
    sided = relation.name in rel.SIDED and draft.is_living(other)
    antecedent = next((named for named in reversed(draft.named) if named != i), draft.last)
    if antecedent == other and not sided and (by_pronoun or draft.rng.random() < 0.6):
        _, obj, poss = PRONOUNS[draft.entity(other).pronoun]
        return draft.rng.choice(rel.SPATIAL_PRONOUN[relation.name]).format(obj=obj, poss=poss)
    return draft.rng.choice(rel.SPATIAL[relation.name]).format(ref=reference(draft, other))
