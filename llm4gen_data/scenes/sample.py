"""Scenes: what stands where in a picture, drawn at random from a seed, and what follows from it."""

import random
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.vocabulary import (
    BACKGROUNDS,
    COLORS,
    FRAME_PX,
    LARGE_RADII_PX,
    OPPOSITE_RELATION,
    SHAPES,
    SMALL_RADII_PX,
    TEXTURES,
    is_held_out,
)

Split = Literal["train", "unseen", "any"]

OBJECT_GAP_PX = 3.0  # between circumscribed circles, so that objects never touch
BORDER_GAP_PX = 2.0
RELATION_MARGIN_PX = 12.0  # centres further apart than this on an axis stand in a relation on it


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object; `x`, `y` (centre) and `radius` (circumscribed circle) are pixels in the 64-px frame."""

    shape: str
    color: str
    texture: str
    size: str
    x: float
    y: float
    radius: float

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """Everything but the place: objects of equal kind cannot be told apart by description."""
        return (self.shape, self.color, self.texture, self.size)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture's whole truth."""

    seed: int
    background: str
    objects: tuple[SceneObject, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"seed": self.seed, "background": self.background, "objects": [asdict(o) for o in self.objects]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Scene":
        """The inverse of `to_dict`."""
        return cls(data["seed"], data["background"], tuple(SceneObject(**o) for o in data["objects"]))


@dataclass(frozen=True, slots=True)
class Relation:
    """`objects[subject]` is `relation` (a name in `RELATIONS`) `objects[object]`."""

    subject: int
    relation: str
    object: int


def sample_scene(seed: int, *, split: Split = "train") -> Scene:
    """The scene of a seed: `train` holds no held-out pair, `unseen` at least one, `any` is not looked at.

    Raises UserError for another split.
    """
    if split not in ("train", "unseen", "any"):
        raise UserError(f"split: {split!r} is not one of train, unseen, any")
    rng = random.Random(f"{split}-{seed}")
    while True:
        kinds = _sample_kinds(rng, split)
        placed = _place(kinds, rng)
        if placed is not None:
            return Scene(seed, rng.choice(list(BACKGROUNDS)), placed)


def relations(scene: Scene) -> list[Relation]:
    """Every relation between two objects that holds by a clear margin, both ways round."""
    found = []
    for i, a in enumerate(scene.objects):
        for j, b in enumerate(scene.objects):
            if b.x - a.x >= RELATION_MARGIN_PX:
                found += [Relation(i, "left of", j), Relation(j, "right of", i)]
            if b.y - a.y >= RELATION_MARGIN_PX:
                found += [Relation(i, "above", j), Relation(j, "below", i)]
    return found


def counts(scene: Scene) -> dict[str, int]:
    """How many objects of each shape there are, shapes in order of appearance."""
    return dict(Counter(o.shape for o in scene.objects))


def counterfactuals(scene: Scene) -> dict[str, Scene]:
    """The scene changed in one respect, under `colors_swapped`, `relation_mirrored`, `count_changed`.

    A change is left out where it would change nothing that can be told. Held-out pairs may come about.
    """
    changed: dict[str, Scene] = {}
    pair = next(
        ((i, j) for i, a in enumerate(scene.objects) for j, b in enumerate(scene.objects[:i])
         if a.color != b.color and replace(a, color=b.color).kind != b.kind),
        None,
    )  # fmt: skip
    if pair is not None:
        i, j = pair
        objects = list(scene.objects)
        a, b = objects[i], objects[j]
        objects[i], objects[j] = replace(a, color=b.color), replace(b, color=a.color)
        changed["colors_swapped"] = replace(scene, objects=tuple(objects))
    mirrored = _mirrored(scene)
    if mirrored is not None:
        changed["relation_mirrored"] = mirrored
    if len(scene.objects) > 1:
        changed["count_changed"] = replace(scene, objects=scene.objects[:-1])
    return changed


def _mirrored(scene: Scene) -> Scene | None:
    """The scene flipped on the axis of its first relation between objects of different kind."""
    for r in relations(scene):
        if scene.objects[r.subject].kind != scene.objects[r.object].kind:
            axis = "x" if r.relation in ("left of", "right of") else "y"
            flipped = (replace(o, **{axis: FRAME_PX - getattr(o, axis)}) for o in scene.objects)
            mirrored = replace(scene, objects=tuple(flipped))
            assert Relation(r.subject, OPPOSITE_RELATION[r.relation], r.object) in relations(mirrored)
            return mirrored
    return None


def _sample_kinds(rng: random.Random, split: Split) -> list[tuple[str, str, str, float]]:
    """(shape, colour, texture, radius) of one to four objects."""
    n = rng.choices((1, 2, 3, 4), weights=(15, 35, 30, 20))[0]
    # A group of equal objects in about one of five scenes, so that counting means something.
    n_equal = rng.choice(range(2, n + 1)) if n > 1 and rng.random() < 0.25 else 1
    while True:
        first = _sample_kind(rng)
        rest: list[tuple[str, str, str, float]] = []
        while len(rest) < n - n_equal:
            kind = _sample_kind(rng)
            # Equal shapes are welcome (binding is hard with them) as long as a word tells them apart.
            if all(kind[0] != k[0] or kind[1] != k[1] for k in [first, *rest]):
                rest.append(kind)
        kinds = [first] * n_equal + rest
        held_out = any(is_held_out(*kind[:3]) for kind in kinds)
        if split == "any" or held_out == (split == "unseen"):
            return kinds


def _sample_kind(rng: random.Random) -> tuple[str, str, str, float]:
    radii = rng.choice((SMALL_RADII_PX, LARGE_RADII_PX))
    return (rng.choice(SHAPES), rng.choice(list(COLORS)), rng.choice(TEXTURES), rng.choice(radii))


def _place(kinds: list[tuple[str, str, str, float]], rng: random.Random) -> tuple[SceneObject, ...] | None:
    """The objects at random places without contact, or None where no place was found."""
    placed: list[SceneObject] = []
    for shape, color, texture, radius in kinds:
        size = "small" if radius in SMALL_RADII_PX else "large"
        low, high = int(radius + BORDER_GAP_PX) + 1, int(FRAME_PX - radius - BORDER_GAP_PX)
        for _ in range(60):
            x, y = rng.randint(low, high), rng.randint(low, high)
            gaps = (((o.x - x) ** 2 + (o.y - y) ** 2) ** 0.5 - o.radius - radius for o in placed)
            if all(gap >= OBJECT_GAP_PX for gap in gaps):
                placed.append(SceneObject(shape, color, texture, size, float(x), float(y), radius))
                break
        else:
            return None
    return tuple(placed)
