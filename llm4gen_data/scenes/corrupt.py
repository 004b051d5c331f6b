"""Scenes of which a share of the facts is wrong: what a captioner that errs would have seen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from llm4gen_data.scenes.sample import Scene, SceneObject
from llm4gen_data.scenes.vocabulary import (
    BACKGROUNDS,
    COLORS,
    FRAME_PX,
    LARGE_RADII_PX,
    SHAPES,
    SIZES,
    SMALL_RADII_PX,
    TEXTURES,
)


def corrupt(scene: Scene, share: float, rng: random.Random) -> Scene:
    """The scene with each fact wrong with probability `share`: shape, colour, texture and size of every object, the
    background, and the relations of each axis, which a mirrored picture turns round.

    Held-out pairs may come about, and objects of equal kind may become different or the reverse.
    """
    objects = [_corrupt_object(o, share, rng) for o in scene.objects]
    for axis in ("x", "y"):
        if rng.random() < share:
            objects = [replace(o, **{axis: FRAME_PX - getattr(o, axis)}) for o in objects]
    background = _another(scene.background, tuple(BACKGROUNDS), share, rng)
    return Scene(scene.seed, background, tuple(objects))


def _corrupt_object(o: SceneObject, share: float, rng: random.Random) -> SceneObject:
    size = _another(o.size, SIZES, share, rng)
    radius = o.radius if size == o.size else rng.choice(SMALL_RADII_PX if size == "small" else LARGE_RADII_PX)
    return replace(
        o,
        shape=_another(o.shape, SHAPES, share, rng),
        color=_another(o.color, tuple(COLORS), share, rng),
        texture=_another(o.texture, TEXTURES, share, rng),
        size=size,
        radius=radius,
    )


def _another(true: str, known: Sequence[str], share: float, rng: random.Random) -> str:
    if rng.random() >= share:
        return true
    return rng.choice([word for word in known if word != true])
