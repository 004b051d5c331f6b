"""Scenes and their counterfactual twins, each with a prompt that is true of the one and false of the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from benchmarks.calibration.prompts import Length, listed_prompt, told_prompt
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.sample import Scene, Split, counterfactuals, sample_scene
from llm4gen_data.scenes.vocabulary import (
    COLORS,
    LARGE_RADII_PX,
    OPPOSITE_RELATION,
    SHAPES,
    SMALL_RADII_PX,
    TEXTURES,
    is_held_out,
)
from llm4gen_data.scenes.wording import ATTRIBUTES, Unit, unit_relations, units_of

# Scenes looked at for one that can be changed in the skill; every skill finds one in ten.
MAX_SCENES_PER_PAIR = 100


@dataclass(frozen=True, slots=True)
class Twins:
    """Two scenes that differ in one `skill`, and what each is called; either prompt is false of the other scene."""

    skill: str
    scenes: tuple[Scene, Scene]
    prompts: tuple[Prompt, Prompt]

    @property
    def n_objects(self) -> int:
        """How many objects the first scene holds; the second holds one fewer where the skill is `count`."""
        return len(self.scenes[0].objects)


@dataclass(frozen=True, slots=True)
class Skill:
    """How a scene is changed (None: it cannot be) and what short prompts tell of each object beside the shape."""

    change: Callable[[Scene, random.Random], Scene | None]
    told: tuple[str, ...] = ("color",)


def twins_of(
    skill: str, n: int, first_seed: int, split: Split, length: Length = "short", n_objects: int | None = None
) -> Iterator[Twins]:
    """`n` pairs of a skill in SKILLS, from scenes of the seeds from `first_seed` on; fewer if none are to be found.

    With `n_objects`, only from scenes of so many. The scenes are the same whatever the `length` of their prompts. With
    the split `train`, neither scene of a pair holds what training scenes never hold.
    """
    n_found = 0
    for seed in count(first_seed):
        if n_found == n or seed - first_seed == n * MAX_SCENES_PER_PAIR:
            return
        scene = sample_scene(seed, split=split)
        if n_objects is not None and len(scene.objects) != n_objects:
            continue
        pair = _twins(skill, scene, split, length)
        if pair is not None:
            n_found += 1
            yield pair


def _twins(skill: str, scene: Scene, split: Split, length: Length) -> Twins | None:
    how = SKILLS[skill]
    twin = how.change(scene, random.Random(f"{skill}-{scene.seed}"))
    if twin is None:
        return None
    if split == "train" and any(is_held_out(o.shape, o.color, o.texture) for o in twin.objects):
        return None
    relations = _mirrored_relation(scene, twin) if skill == "relation" else (None, None)
    if relations is None or any(_is_ambiguous(each, how.told) for each in (scene, twin)):
        return None
    if skill != "relation" and _told(scene, how.told) == _told(twin, how.told):
        return None
    sides = (("a", scene, twin, relations[0]), ("b", twin, scene, relations[1]))
    if length == "dense":
        prompts = [told_prompt(skill, side, here, there) for side, here, there, _ in sides]
    else:
        attributes = how.told if length == "short" else ATTRIBUTES
        prompts = [listed_prompt(skill, side, here, attributes, relation) for side, here, _, relation in sides]
    return Twins(skill, (scene, twin), (prompts[0], prompts[1]))


def _changed_unit(attribute: str, values: Sequence[str]) -> Callable[[Scene, random.Random], Scene | None]:
    """One object, or all of its kind, gets a value that no object of the scene has."""

    def change(scene: Scene, rng: random.Random) -> Scene | None:
        taken = {getattr(o, attribute) for o in scene.objects}
        free = [value for value in values if value not in taken]
        unit = rng.choice(units_of(scene))
        return _with_unit(scene, unit, **{attribute: rng.choice(free)}) if free else None

    return change


def _shrunk(scene: Scene, rng: random.Random) -> Scene | None:
    """A large object, or all of its kind, made small; judged both ways, so that neither size is favoured."""
    large = [unit for unit in units_of(scene) if unit.object.radius in LARGE_RADII_PX]
    if not large:
        return None
    unit = rng.choice(large)
    radius = SMALL_RADII_PX[LARGE_RADII_PX.index(unit.object.radius)]
    return _with_unit(scene, unit, size="small", radius=radius)


def _one_fewer(scene: Scene, rng: random.Random) -> Scene | None:
    """One of several equal objects gone: what is there stays the same, how many does not."""
    groups = [unit for unit in units_of(scene) if unit.n > 1]
    if not groups:
        return None
    gone = rng.choice(rng.choice(groups).members)
    return replace(scene, objects=tuple(o for i, o in enumerate(scene.objects) if i != gone))


def _mirrored(scene: Scene, rng: random.Random) -> Scene | None:
    return counterfactuals(scene).get("relation_mirrored") if len(units_of(scene)) == 2 else None


def _swapped(scene: Scene, rng: random.Random) -> Scene | None:
    return counterfactuals(scene).get("colors_swapped")


SKILLS = {
    "color": Skill(_changed_unit("color", tuple(COLORS))),
    "shape": Skill(_changed_unit("shape", SHAPES)),
    "texture": Skill(_changed_unit("texture", TEXTURES), ("color", "texture")),
    "size": Skill(_shrunk, ("size", "color")),
    "relation": Skill(_mirrored),
    "count": Skill(_one_fewer),
    "binding": Skill(_swapped),  # the colours of two objects exchanged
}


def _with_unit(scene: Scene, unit: Unit, **changes: str | float) -> Scene:
    objects = [replace(o, **changes) if i in unit.members else o for i, o in enumerate(scene.objects)]  # type: ignore[arg-type]
    return replace(scene, objects=tuple(objects))


def _told(scene: Scene, attributes: Sequence[str]) -> list[tuple[str, ...]]:
    return sorted((o.shape, *(getattr(o, name) for name in attributes)) for o in scene.objects)


def _is_ambiguous(scene: Scene, attributes: Sequence[str]) -> bool:
    """Whether two kinds of object would be called the same."""
    return len(set(_told(scene, attributes))) < len(units_of(scene))


def _mirrored_relation(scene: Scene, twin: Scene) -> tuple[str, str] | None:
    """How the first kind of object stands to the second, and how it does in the twin; None where that is not clear."""
    here, there = (unit_relations(each, units_of(each)).get((0, 1), []) for each in (scene, twin))
    return next(((r, OPPOSITE_RELATION[r]) for r in here if OPPOSITE_RELATION[r] in there), None)
