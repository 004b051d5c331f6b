"""The state of a dense caption under way, and the words by which its units may be called at that point."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.sample import Relation, Scene
from llm4gen_data.scenes.vocabulary import FRAME_PX, OPPOSITE_RELATION
from llm4gen_data.scenes.wording import NUMBER_WORDS, Unit, Words, capitalized


@dataclass
class Draft:
    """A caption under way: what has been said, and whom "it" would mean next."""

    scene: Scene
    rng: random.Random
    words: Words
    units: list[Unit]
    related: dict[tuple[int, int], list[str]]
    sentences: list[str] = field(default_factory=list)
    stated: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # attributes by unit
    topic: int | None = None
    pair: tuple[int, int] | None = None  # "the former" and "the latter"
    in_order: list[int] | None = None  # "the first", "the second", ... "the last"
    claimed: set[Relation] = field(default_factory=set)
    ground_said: bool = False
    used: set[str] = field(default_factory=set)

    @property
    def n_words(self) -> int:
        """Words so far."""
        return sum(len(s.split()) for s in self.sentences)

    def choose(self, patterns: Sequence[str]) -> str:
        """One of the patterns, none twice in a caption as long as there are others."""
        pattern = self.rng.choice([p for p in patterns if p not in self.used] or patterns)
        self.used.add(pattern)
        return pattern

    def say(self, pattern: str, keys: Mapping[str, str], *, topic: int | None = None) -> None:
        """Add a sentence; afterwards "it" means `topic`."""
        self.sentences.append(capitalized(pattern.format(**keys)) + ".")
        self.topic = topic

    def claim(self, a: int, relation: str, b: int) -> None:
        """Note that the caption says unit `a` is `relation` unit `b`."""
        for i in self.units[a].members:
            for j in self.units[b].members:
                self.claimed.add(Relation(i, relation, j))


def noun_phrase(draft: Draft, u: int, attributes: Sequence[str]) -> str:
    """A phrase that brings the unit in; it names the colour where the shape alone would be ambiguous."""
    chosen = set(attributes) | (set() if _shape_is_unique(draft, u) else {"color"})
    draft.stated[u] |= chosen
    ordered = [a for a in ("size", "color", "texture") if a in chosen]
    return draft.words.noun_phrase(draft.units[u], ordered)


def reference(draft: Draft, u: int) -> str:
    """A phrase for a known unit that fits no other: "the circle", "the red circle", "the red one"."""
    unit, words, rng = draft.units[u], draft.words, draft.rng
    color_said = "color" in draft.stated[u]
    if not _shape_is_unique(draft, u) or (color_said and rng.random() < 0.2):
        return words.noun_phrase(unit, ["color"], definite=True)
    same_color = [other for other in draft.units if other.object.color == unit.object.color]
    if color_said and len(same_color) == 1 and rng.random() < 0.15:
        return f"the {words.adjective(unit, 'color')} {'one' if unit.n == 1 else 'ones'}"
    if unit.n > 1 and rng.random() < 0.3:
        return f"the {NUMBER_WORDS[unit.n]} {words.noun(unit)}"
    return f"the {words.noun(unit)}"


def _shape_is_unique(draft: Draft, u: int) -> bool:
    shape = draft.units[u].object.shape
    return sum(unit.object.shape == shape for unit in draft.units) == 1


def pronouns(draft: Draft, u: int) -> tuple[str, str, str]:
    """("it", "it", "its") or ("they", "them", "their")."""
    return ("it", "it", "its") if draft.units[u].n == 1 else ("they", "them", "their")


def verb_keys(draft: Draft, u: int) -> dict[str, str]:
    """Verb forms and pronouns that agree with the unit: keys `is`, `has`, `verb`, `it`, `they`."""
    several = draft.units[u].n > 1
    verb = draft.rng.choice(phrases.PLACE_VERBS)[several]
    it, them, _ = pronouns(draft, u)
    return {
        "is": "are" if several else "is",
        "has": "have" if several else "has",
        "verb": verb,
        "it": it,
        "they": it,
        "them": them,
    }


def new_unit_keys(draft: Draft, u: int) -> dict[str, str]:
    """Keys for a sentence that brings the unit in: `np`, `ground`, `place` where it has one, and verb forms."""
    n_attributes = draft.rng.choices((0, 1, 2, 3), weights=(8, 25, 35, 32))[0]
    keys = verb_keys(draft, u)
    keys["np"] = noun_phrase(draft, u, draft.rng.sample(("size", "color", "texture"), n_attributes))
    keys["ground"] = ground(draft)
    place = place_of(draft, u)
    return keys | ({"place": place} if place else {})


def subject_keys(draft: Draft, u: int) -> dict[str, str]:
    """Keys for a sentence about a known unit: pronouns where it is the topic, else references."""
    ref = reference(draft, u)
    keys = verb_keys(draft, u) | {"ref": ref, "their": pronouns(draft, u)[2]}
    if draft.topic == u:
        it, them, its = pronouns(draft, u)
        return keys | {"subject": it, "them": them, "its": its}
    possessive = ref + ("'" if ref.endswith("s") and draft.units[u].n > 1 else "'s")
    return keys | {"subject": ref, "them": ref, "its": possessive}


def relation_keys(draft: Draft, relation: str, to: int) -> dict[str, str]:
    """Ways to say that something is `relation` unit `to`: `rel`, `front`, `rel_it`, `bare`, `inverse`."""
    rng = draft.rng
    _, them, their = pronouns(draft, to)
    return {
        "rel": rng.choice(phrases.RELATION_PHRASES[relation]),
        "front": rng.choice(phrases.FRONTED_RELATIONS[relation]),
        "rel_it": rng.choice(phrases.PRONOUN_RELATIONS[relation]).format(them=them, their=their),
        "bare": rng.choice(phrases.NEIGHBOR_RELATIONS[relation]),
        "inverse": rng.choice(phrases.RELATION_PHRASES[OPPOSITE_RELATION[relation]]),
    }


def ground(draft: Draft) -> str:
    """A noun phrase for the background."""
    return draft.rng.choice(phrases.GROUNDS[draft.scene.background])


def things(draft: Draft) -> str:
    """ "three figures": how many objects there are."""
    n = len(draft.scene.objects)
    noun = draft.rng.choice(("figure", "shape", "object"))
    return f"{NUMBER_WORDS[n]} {noun}{'s' if n > 1 else ''}"


def place_of(draft: Draft, u: int) -> str | None:
    """Where in the frame the unit is, if that can be said without doubt."""
    objects = [draft.scene.objects[i] for i in draft.units[u].members]
    columns = {_third(o.x) for o in objects}
    rows = {_third(o.y) for o in objects}
    column = columns.pop() if len(columns) == 1 else None
    row = rows.pop() if len(rows) == 1 else None
    found = phrases.PLACES.get((row, column))
    return draft.rng.choice(found) if found else None


def _third(position_px: float) -> int | None:
    """0, 1 or 2 for the three thirds of the frame, None close to the lines between them."""
    thirds = position_px / (FRAME_PX / 3)
    return int(thirds) if abs(thirds - round(thirds)) > 0.08 or round(thirds) in (0, 3) else None
