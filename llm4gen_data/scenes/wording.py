"""Words for things: nouns, adjectives, noun phrases and references, chosen at random yet always true."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llm4gen_data.scenes.sample import Relation, Scene, SceneObject, relations
from llm4gen_data.scenes.vocabulary import HELD_OUT_SYNONYMS, SYNONYMS

NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
ATTRIBUTES = ("size", "color", "texture")

# Texture as a noun; {mark} is the shade of the marks.
WITH_TEXTURE = {
    "solid": ("without any pattern", "without marks"),
    "striped": ("with {mark} stripes", "with {mark} bands"),
    "dotted": ("with {mark} dots", "with {mark} spots"),
    "checkered": ("with {mark} checks", "with a {mark} checkerboard pattern"),
    "outlined": ("with a {mark} rim", "with a {mark} outline"),
}
# Texture as a clause of its own; {them} is the object, {their} its possessive.
TEXTURE_CLAUSES = {
    "solid": ("no pattern covers {them}", "no marks interrupt {them}", "nothing but one even tone fills {them}"),
    "striped": (
        "{mark} stripes run across {them}",
        "{mark} bands cross {them} at a slant",
        "slanting {mark} stripes cut through {them}",
    ),
    "dotted": (
        "{mark} dots cover {them}",
        "{mark} spots are scattered over {them}",
        "rows of {mark} dots are printed on {them}",
    ),
    "checkered": (
        "{mark} checks fill {them}",
        "a {mark} checkerboard pattern covers {them}",
        "{mark} checks alternate across {them}",
    ),
    "outlined": (
        "a {mark} rim runs around {them}",
        "a {mark} outline surrounds {them}",
        "a thick {mark} outline encloses {them}",
    ),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """One object, or several of equal kind, which language treats as one."""

    members: tuple[int, ...]
    object: SceneObject

    @property
    def n(self) -> int:
        """How many objects."""
        return len(self.members)


def units_of(scene: Scene) -> list[Unit]:
    """The scene's objects, equal kinds taken together, in order of first appearance."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for index, o in enumerate(scene.objects):
        kinds.setdefault(o.kind, []).append(index)
    return [Unit(tuple(members), scene.objects[members[0]]) for members in kinds.values()]


def unit_relations(scene: Scene, units: Sequence[Unit]) -> dict[tuple[int, int], list[str]]:
    """Relations that hold between all members of two units, by the units' positions in `units`."""
    true = set(relations(scene))
    found: dict[tuple[int, int], list[str]] = {}
    for a, first in enumerate(units):
        for b, second in enumerate(units):
            for relation in ("left of", "right of", "above", "below"):
                pairs = (Relation(i, relation, j) for i in first.members for j in second.members)
                if a != b and all(pair in true for pair in pairs):
                    found.setdefault((a, b), []).append(relation)
    return found


@dataclass
class Words:
    """Chooses words; with `held_out`, about half of them (and surely the first) from the held-out synonyms."""

    rng: random.Random
    held_out: bool = False
    used_held_out: bool = False

    def word(self, canonical: str) -> str:
        """A word for a shape, colour, texture or size; mostly the canonical one."""
        if self.held_out and (not self.used_held_out or self.rng.random() < 0.5):
            self.used_held_out = True
            return self.rng.choice(HELD_OUT_SYNONYMS[canonical])
        synonyms = SYNONYMS[canonical]
        return synonyms[0] if self.rng.random() < 0.6 else self.rng.choice(synonyms)

    def noun(self, unit: Unit) -> str:
        """The shape's name, in the plural for several."""
        return self.word(unit.object.shape) if unit.n == 1 else plural(self.word(unit.object.shape))

    def adjective(self, unit: Unit, attribute: str) -> str:
        """A word for the unit's `size`, `color` or `texture`."""
        return self.word(getattr(unit.object, attribute))

    def noun_phrase(self, unit: Unit, attributes: Sequence[str], *, definite: bool = False) -> str:
        """Article or number, the given attributes, noun: "two small dotted crosses with a dark rim"."""
        rng = self.rng
        before, after = list(attributes), ""
        if "texture" in before and not definite and rng.random() < 0.4:
            before.remove("texture")
            after = " " + self.with_texture(unit)
        elif len(before) == 3 and rng.random() < 0.3:
            before = ["size", "texture", "color"]
        words = [self.adjective(unit, attribute) for attribute in before]
        if before == ["size", "color", "texture"] and rng.random() < 0.3:
            words[0] += ","  # "a small, red striped circle"
        words.append(self.noun(unit))
        if definite:
            words.insert(0, "the")
        elif unit.n > 1:
            words.insert(0, NUMBER_WORDS[unit.n])
        else:
            words.insert(0, article(words[0]))
        return " ".join(words) + after

    def with_texture(self, unit: Unit) -> str:
        """The texture as a phrase after the noun: "with dark stripes"."""
        phrase = self.rng.choice(WITH_TEXTURE[unit.object.texture])
        if self.held_out and self.rng.random() < 0.5:
            phrase = "with {a} {held} surface"
            held = self.word(unit.object.texture)
            return phrase.format(a=article(held), held=held)
        return phrase.format(mark=self.mark(unit))

    def texture_clause(self, unit: Unit, target: str) -> str:
        """A clause that tells the texture of `target`, a reference to the unit: "dark dots cover it"."""
        clause = self.rng.choice(TEXTURE_CLAUSES[unit.object.texture])
        return clause.format(mark=self.mark(unit), them=target)

    def mark(self, unit: Unit) -> str:
        """The shade of the texture's marks, see `render.mark_color`."""
        if unit.object.color in ("black", "white"):
            return "gray"
        return self.rng.choice(("dark", "darker"))


def article(word: str) -> str:
    """The indefinite article for the word after it."""
    return "an" if word[0] in "aeio" or word.startswith("unp") else "a"


def plural(noun: str) -> str:
    """The plural of a noun of the vocabulary."""
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def enumeration(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def capitalized(sentence: str) -> str:
    """With a capital first letter, the rest untouched."""
    return sentence[0].upper() + sentence[1:]
