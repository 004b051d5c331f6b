"""Yes/no questions in pairs of twins that look alike and have opposite answers: to train relations, to measure all."""

import random
from dataclasses import dataclass
from typing import Literal

from llm4gen_data.scenes.questions import Question, is_there, relation_question
from llm4gen_data.scenes.sample import Scene, Split, counterfactuals
from llm4gen_data.scenes.vocabulary import HELD_OUT_PAIRS, OPPOSITE_RELATION, is_held_out
from llm4gen_data.scenes.wording import NUMBER_WORDS, unit_relations, units_of

TwinKind = Literal["words swapped", "picture mirrored", "colors swapped", "object removed"]


@dataclass(frozen=True, slots=True)
class Twins:
    """Two questions, each with the scene that it is asked about: the first is to be answered yes, the second no."""

    kind: TwinKind
    asked: tuple[tuple[Question, Scene], tuple[Question, Scene]]


def relation_questions(scene: Scene, rng: random.Random, n: int) -> list[Question]:
    """For up to `n` relations that hold: a question whose answer is yes, and a twin of other words whose answer is no.

    The twin has the objects swapped or the opposite relation; wording as in `llm4gen_data.scenes.questions`.
    """
    units = units_of(scene)
    true = [(a, b, relation) for (a, b), found in unit_relations(scene, units).items() for relation in found]
    # Each relation stands there both ways round; one of them is enough.
    chosen = [(a, b, r) if rng.random() < 0.5 else (b, a, OPPOSITE_RELATION[r]) for a, b, r in true if a < b]
    asked = []
    for a, b, relation in rng.sample(chosen, min(n, len(chosen))):
        twin = (b, a, relation) if rng.random() < 0.5 else (a, b, OPPOSITE_RELATION[relation])
        asked.append(_question(relation_question(units, a, b, relation), "yes", "relation"))
        asked.append(_question(relation_question(units, *twin), "no", "relation"))
    return asked


def binding_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Whether there is a shape in its color, and whether there is one in the color of another object; none if it is.

    A held-out pair is asked about only where the scene holds one.
    """
    kinds = {(o.color, o.shape) for o in scene.objects}
    may_be_strange = any(is_held_out(o.shape, o.color, o.texture) for o in scene.objects)
    mixed = [
        (color, other)
        for color, _ in sorted(kinds)
        for other in sorted(kinds)
        if (color, other[1]) not in kinds and (may_be_strange or (color, other[1]) not in HELD_OUT_PAIRS)
    ]
    if not mixed:
        return []
    color, (own_color, shape) = rng.choice(mixed)
    return [
        _question(is_there([own_color, shape]), "yes", "existence"),
        _question(is_there([color, shape]), "no", "existence"),
    ]


def twin_questions(scene: Scene, rng: random.Random, split: Split) -> list[Twins]:
    """One pair of each kind that the scene allows: other words on the picture, or the same words on a changed picture.

    For the `train` split, changed pictures that hold a held-out pair are left out.
    """
    found: list[Twins] = []
    swapped = relation_questions(scene, rng, 1)
    if swapped:
        found.append(Twins("words swapped", ((swapped[0], scene), (swapped[1], scene))))
    changed = counterfactuals(scene)
    candidates: list[tuple[TwinKind, str, list[str]]] = [
        ("picture mirrored", "relation_mirrored", _relations_that_turn(scene, changed.get("relation_mirrored"))),
        ("colors swapped", "colors_swapped", _kinds_that_go(scene, changed.get("colors_swapped"))),
        ("object removed", "count_changed", [_ask_count(len(scene.objects))]),
    ]
    for kind, change, texts in candidates:
        other = changed.get(change)
        is_strange = other and any(is_held_out(o.shape, o.color, o.texture) for o in other.objects)
        if other and texts and not (split == "train" and is_strange):
            text = rng.choice(texts)
            found.append(Twins(kind, ((_question(text, "yes", kind), scene), (_question(text, "no", kind), other))))
    return found


def _relations_that_turn(scene: Scene, mirrored: Scene | None) -> list[str]:
    """Questions about relations that hold in the scene, and the other way round in the mirrored one."""
    if mirrored is None:
        return []
    units = units_of(scene)
    here, there = unit_relations(scene, units), unit_relations(mirrored, units_of(mirrored))
    return [
        relation_question(units, a, b, relation)
        for (a, b), found in here.items()
        for relation in found
        if OPPOSITE_RELATION[relation] in there.get((a, b), [])
    ]


def _kinds_that_go(scene: Scene, other: Scene | None) -> list[str]:
    """Questions about a colour and shape that the scene holds and the other does not."""
    gone = {(o.color, o.shape) for o in scene.objects} - {(o.color, o.shape) for o in (other or scene).objects}
    return [is_there([color, shape]) for color, shape in sorted(gone)]


def _ask_count(n: int) -> str:
    return f"Are there exactly {NUMBER_WORDS[n]} objects in the picture?"


def _question(text: str, answer: Literal["yes", "no"], kind: str) -> Question:
    return Question("q01", text, answer, kind, ())
