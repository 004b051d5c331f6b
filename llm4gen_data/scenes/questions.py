"""Yes/no questions about a scene, balanced within every kind, with the dependencies of a scene graph."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.vocabulary import COLORS, OPPOSITE_RELATION, SHAPES, SIZES, TEXTURES, is_held_out
from llm4gen_data.scenes.wording import NUMBER_WORDS, Unit, article, plural, unit_relations, units_of

KINDS = ("existence", "color", "shape", "texture", "size", "relation", "count")
RELATION_WORDS = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answer; it is only meaningful if the questions it depends on are answered yes."""

    question_id: str
    question: str
    answer: Literal["yes", "no"]
    kind: str
    depends_on: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)


class _Sheet:
    """The questions asked so far about one scene."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self.rng = scene, rng
        self.units = units_of(scene)
        self.asked: list[Question] = []
        # Training questions must not give away that a held-out pair is never there.
        self.may_ask_held_out = any(is_held_out(o.shape, o.color, o.texture) for o in scene.objects)

    def ask(self, text: str, yes: bool, kind: str, *depends_on: str) -> str:
        question_id = f"q{len(self.asked) + 1:02d}"
        self.asked.append(Question(question_id, text, "yes" if yes else "no", kind, depends_on))
        return question_id

    def name(self, unit: Unit) -> str:
        return name_of(unit, self.units)

    def shares_shape(self, unit: Unit) -> bool:
        return shares_shape(unit, self.units)

    def other_value(self, unit: Unit, attribute: str, values: list[str]) -> str | None:
        """A wrong but plausible value, rather one that another object has; None if there is none."""
        wrong = []
        for value in values:
            change: dict[str, Any] = {attribute: value}
            other = replace(unit.object, **change)
            held_out = is_held_out(other.shape, other.color, other.texture)
            if other != unit.object and (self.may_ask_held_out or not held_out):
                wrong.append(value)
        taken = {getattr(o, attribute) for o in self.scene.objects}
        present = [value for value in wrong if value in taken]
        return self.rng.choice(present if present and self.rng.random() < 0.6 else wrong) if wrong else None


def questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Questions of all kinds; within each kind "yes" and "no" are equally likely.

    An attribute question depends on the question whether the object exists, a relation on both objects'.
    """
    sheet = _Sheet(scene, rng)
    parents = _ask_existence(sheet)
    for unit, parent in zip(sheet.units, parents, strict=True):
        _ask_attributes(sheet, unit, parent)
    _ask_relations(sheet, parents)
    _ask_counts(sheet)
    return sheet.asked


def name_of(unit: Unit, units: Sequence[Unit]) -> str:
    """The unit's noun, with its colour where another unit has the same shape."""
    noun = unit.object.shape if unit.n == 1 else plural(unit.object.shape)
    return f"{unit.object.color} {noun}" if shares_shape(unit, units) else noun


def shares_shape(unit: Unit, units: Sequence[Unit]) -> bool:
    """Whether another unit has the same shape."""
    return sum(other.object.shape == unit.object.shape for other in units) > 1


def is_there(words: Sequence[str]) -> str:
    """The question whether what `words` name is in the picture."""
    return f"Is there {article(words[0])} {' '.join(words)} in the picture?"


def relation_question(units: Sequence[Unit], a: int, b: int, relation: str) -> str:
    """The question whether unit `a` stands in a relation to unit `b`."""
    is_ = "Is" if units[a].n == 1 else "Are"
    return f"{is_} the {name_of(units[a], units)} {RELATION_WORDS[relation]} the {name_of(units[b], units)}?"


def _ask_existence(sheet: _Sheet) -> list[str]:
    """One "yes" for each unit and as many "no"; the ids of the former, unit by unit."""
    rng, parents = sheet.rng, []
    known = {(o.color, o.shape) for o in sheet.scene.objects}
    absent = rng.sample([s for s in SHAPES if all(o.shape != s for o in sheet.scene.objects)], 4)
    for unit in sheet.units:
        words = [unit.object.color, unit.object.shape] if sheet.shares_shape(unit) else [unit.object.shape]
        parents.append(sheet.ask(is_there(words), True, "existence"))
        if len(words) == 1:
            sheet.ask(is_there([absent.pop()]), False, "existence")
        else:
            wrong = None
            while wrong is None or (wrong, unit.object.shape) in known:
                wrong = sheet.other_value(unit, "color", list(COLORS))
            known.add((wrong, unit.object.shape))
            sheet.ask(is_there([wrong, unit.object.shape]), False, "existence")
    return parents


def _ask_attributes(sheet: _Sheet, unit: Unit, parent: str) -> None:
    rng, o = sheet.rng, unit.object
    is_, name = ("Is", sheet.name(unit)) if unit.n == 1 else ("Are", sheet.name(unit))
    for attribute, values in (("color", list(COLORS)), ("texture", list(TEXTURES)), ("size", list(SIZES))):
        if attribute == "color" and sheet.shares_shape(unit):
            continue  # the colour is already part of the name
        yes = rng.random() < 0.5
        value = getattr(o, attribute) if yes else sheet.other_value(unit, attribute, values)
        if value is not None:
            sheet.ask(f"{is_} the {name} {value}?", yes, attribute, parent)
    if sum(other.object.color == o.color for other in sheet.units) == 1:
        yes = rng.random() < 0.5
        shape = o.shape if yes else sheet.other_value(unit, "shape", list(SHAPES))
        if shape is not None and unit.n == 1:
            sheet.ask(f"Is the {o.color} object {article(shape)} {shape}?", yes, "shape", parent)
        elif shape is not None:
            sheet.ask(f"Are the {o.color} objects {plural(shape)}?", yes, "shape", parent)


def _ask_relations(sheet: _Sheet, parents: list[str]) -> None:
    related = [(a, b, r) for (a, b), found in unit_relations(sheet.scene, sheet.units).items() for r in found if a < b]
    for a, b, relation in sheet.rng.sample(related, min(3, len(related))):
        if sheet.rng.random() < 0.5:
            a, b, relation = b, a, OPPOSITE_RELATION[relation]
        yes = sheet.rng.random() < 0.5
        text = relation_question(sheet.units, a, b, relation if yes else OPPOSITE_RELATION[relation])
        sheet.ask(text, yes, "relation", parents[a], parents[b])


def _ask_counts(sheet: _Sheet) -> None:
    """How many objects there are, and how many of one shape, mostly of one that is there more than once."""
    shapes = [o.shape for o in sheet.scene.objects]
    repeated = sorted({s for s in shapes if shapes.count(s) > 1})
    for noun, n in (("object", len(shapes)), *((s, shapes.count(s)) for s in repeated or [sheet.rng.choice(shapes)])):
        yes = sheet.rng.random() < 0.5
        asked = n if yes else sheet.rng.choice([k for k in (n - 1, n + 1) if 1 <= k <= 4])
        if asked == 1:
            sheet.ask(f"Is there exactly one {noun} in the picture?", yes, "count")
        else:
            sheet.ask(f"Are there exactly {NUMBER_WORDS[asked]} {plural(noun)} in the picture?", yes, "count")
