"""What a prompt says, before it is written: things, what they are like, how they stand to each other, and where."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm4gen_data.densprompts.relations import COMPARISONS, INTERACTIONS, SPATIAL

# Bucket -> fewest and most words, counted by len(prompt.split()).
LENGTHS = {"short": (40, 69), "medium": (70, 99), "long": (100, 140)}
COMPLEX_SKILLS = 6  # a specification that asks for so many different skills is complex
ATTRIBUTES = ("size", "look", "shape", "color", "material")  # in the order of English adjectives


@dataclass(frozen=True, slots=True)
class Entity:
    """`count` things of one kind; what is None is not said.

    `look` is a visible quality (striped, shaggy, elderly), `material` a noun, `action` a verb phrase in its base
    form, `place` a phrase ("by the window"), `text` the words written on it, `part` a phrase for what one sees of it
    ("a chipped handle", "two arched openings"; of single things only), `pronoun` it, she, he or they.
    """

    noun: str
    count: int
    pronoun: str
    size: str | None = None
    look: str | None = None
    shape: str | None = None
    color: str | None = None
    material: str | None = None
    posture: str | None = None
    action: str | None = None
    place: str | None = None
    text: str | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """`entities[subject]` is `name` (see `relations.py`) `entities[object]`."""

    subject: int
    name: str
    object: int


@dataclass(frozen=True, slots=True)
class Spec:
    """One prompt's content; `entities[0]` is the main one, every other has a place or a relation to an earlier one.

    `skill` is what the prompt was drawn to test, `length` a bucket of LENGTHS. `setting` is a phrase, `place_noun`
    what to call it; `details` are clauses that are true of the picture; `light`, `style` and `view` may be None.
    """

    category: str
    skill: str
    length: str
    setting: str
    place_noun: str
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    details: tuple[str, ...] = ()
    light: str | None = None
    style: str | None = None
    style_detail: str | None = None
    view: str | None = None

    def to_json(self) -> str:
        """Canonical JSON: equal for equal specifications."""
        # Not dataclasses.asdict, which copies deeply: this is called several times a prompt.
        return json.dumps(self, default=_plain, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    @property
    def ground(self) -> str:
        """The setting without its preposition: "a small kitchen" of "in a small kitchen"."""
        return re.sub(r"^(?:in front of|\w+) ", "", self.setting)

    @property
    def spec_id(self) -> str:
        """The sha256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _plain(part: Any) -> dict[str, Any]:
    """A dataclass of this module for json.dumps."""
    return {name: getattr(part, name) for name in type(part).__slots__}


def spec_from_json(text: str) -> Spec:
    """The inverse of `Spec.to_json`."""
    data: Mapping[str, Any] = json.loads(text)
    return Spec(
        **{
            **data,
            "entities": tuple(Entity(**entity) for entity in data["entities"]),
            "relations": tuple(Relation(**relation) for relation in data["relations"]),
            "details": tuple(data["details"]),
        }
    )


def skill_counts(spec: Spec) -> Counter[str]:
    """How often a specification asks for each skill of `taxonomy.SKILLS`."""
    counts: Counter[str] = Counter()
    for entity in spec.entities:
        counts["color"] += entity.color is not None
        counts["shape"] += entity.shape is not None
        counts["texture"] += (entity.look is not None) + (entity.material is not None)
        counts["count"] += entity.count > 1
        counts["size"] += entity.size is not None
        counts["action"] += entity.action is not None
        counts["spatial"] += entity.place is not None
    for relation in spec.relations:
        counts["spatial"] += relation.name in SPATIAL
        counts["comparison"] += relation.name in COMPARISONS
        counts["action"] += relation.name in INTERACTIONS
    counts["complex"] = int(len(+counts) >= COMPLEX_SKILLS)
    return +counts
