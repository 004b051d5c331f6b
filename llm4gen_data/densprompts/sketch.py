"""A specification under way: the things drawn so far, and which others can still be told from them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from llm4gen_data.densprompts.spec import Entity, Relation
from llm4gen_data.densprompts.vocabulary import Lexicon, Noun, Setting

# Of the things that have one, how many are told with a part.
PART_SHARE = 0.5
_BEARDED = re.compile(r"beard|\bbald|mustache")
_EMPTY_WORDS = frozenset(["the", "and", "with", "from", "into", "over", "under", "pair", "stack", "row", "for"])


@dataclass
class Sketch:
    """A specification under way."""

    rng: random.Random
    lexicon: Lexicon
    setting: Setting
    skill: str
    taken_words: set[str]  # what things and fixed texts are called so far; no other thing may be called so
    nouns: list[Noun] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    places_left: dict[str, list[str]] = field(default_factory=dict)

    def add(self, noun: Noun) -> int:
        """Put a thing in, without a place; its index."""
        self.nouns.append(noun)
        self.taken_words |= content_words(noun.name)
        self.entities.append(_entity(self, noun))
        return len(self.entities) - 1

    def change(self, index: int, **values: Any) -> None:
        """Say more, or something else, of an entity."""
        self.entities[index] = replace(self.entities[index], **values)

    def fits(self, noun: Noun) -> bool:
        """Whether a thing can be told from everything that is named already."""
        return not content_words(noun.name) & self.taken_words


@lru_cache(maxsize=1 << 16)
def content_words(text: str) -> frozenset[str]:
    """The words of a text that could name a thing, in a form in which singular and plural agree."""
    words = re.findall(r"[a-zé]{3,}|[a-zé]+-[a-zé]+", text.lower())
    return frozenset(re.sub(r"e?s$", "", word) for word in words if word not in _EMPTY_WORDS)


def _entity(sketch: Sketch, noun: Noun) -> Entity:
    """A thing with some of what is plausible of it, more of the skill that is to be tested."""
    rng = sketch.rng
    count = 1
    if noun.max_count > 1 and rng.random() < (0.65 if sketch.skill == "count" else 0.22):
        count = rng.randint(2, noun.max_count)
    pronoun = noun.pronoun or "it"
    if noun.kind == "person" and noun.pronoun is None:
        pronoun = rng.choice(("she", "he"))
    attributes = _attributes(sketch, noun)
    if noun.kind == "person" and count == 1 and _BEARDED.search(attributes.get("look", "")):
        pronoun = "he"
    # Three shepherds do not lean on a staff: several do what needs no thing of its own.
    actions = [action for action in noun.actions if count == 1 or not re.search(r"\b(?:an?|one)\b", action)]
    actions = [action for action in actions if all(action != entity.action for entity in sketch.entities)]
    action = rng.choice(actions) if actions and rng.random() < 0.7 else None
    # No "scratched stand with a scratched surface", and no "folded wings" of what spreads them.
    said = content_words(" ".join([*attributes.values(), action or ""]))
    parts = [part for part in noun.parts if count == 1 and not content_words(part) & sketch.taken_words]
    parts = [part for part in parts if not _repeats(part, said)]
    parts = [part for part in parts if all(part != entity.part for entity in sketch.entities)]
    part = rng.choice(parts) if parts and noun.kind != "sign" and rng.random() < PART_SHARE else None
    return Entity(
        noun=noun.name,
        count=count,
        pronoun="they" if count > 1 else pronoun,
        posture=rng.choice(noun.posture),
        action=action,
        part=part,
        **attributes,
    )


def _repeats(part: str, said: frozenset[str]) -> bool:
    """Whether a part says again what has been said: "branching antlers" of an antlered elk."""
    return any(a.startswith(b) or b.startswith(a) for a in content_words(part) for b in said)


def _attributes(sketch: Sketch, noun: Noun) -> dict[str, Any]:
    """At most three attributes by name, those of the skill that is to be tested nearly always."""
    rng, skill = sketch.rng, sketch.skill
    options = _attribute_options(sketch, noun)
    tested = {"texture": ("look", "material")}.get(skill, (skill,))
    chances = {"size": 0.25, "look": 0.45, "shape": 0.3, "color": 0.65, "material": 0.4}
    chances |= {name: 0.9 for name in tested if name in chances}
    said = {name: rng.choice(values) for name, values in options.items() if values and rng.random() < chances[name]}
    if said.get("material") in sketch.lexicon.plain_materials:
        said.pop("color", None)
    if said.get("look", "").startswith(said.get("size", "-")):  # no "large large-billed hornbill"
        said.pop("size")
    while len(said) > 3:
        said.pop(rng.choice([name for name in said if name not in tested] or list(said)))
    if not said:
        name = rng.choice([name for name, values in options.items() if values] or [""])
        said = {name: rng.choice(options[name])} if name else {}
    return said


def _attribute_options(sketch: Sketch, noun: Noun) -> dict[str, tuple[str, ...]]:
    """What each attribute could be: nothing that the name says, and nothing that has been said of another thing."""
    materials = sketch.lexicon.materials
    own = content_words(noun.name)
    options = {
        "size": noun.sizes,
        "look": noun.looks,
        "shape": noun.shapes,
        "color": noun.colors,
        # No "iron waffle iron", no "wooden wooden arrow".
        "material": tuple(m for m in noun.materials if not content_words(f"{m} {materials[m]}") & own),
    }
    for name, values in options.items():
        fitting = tuple(value for value in values if not content_words(value) & own)
        if name == "look" and noun.pronoun == "she":
            fitting = tuple(look for look in fitting if not _BEARDED.search(look))
        # Two things with equal attributes would test no binding, and read dull.
        taken = {getattr(entity, name) for entity in sketch.entities}
        options[name] = tuple(value for value in fitting if value not in taken) or fitting
    return options
