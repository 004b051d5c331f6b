"""Pictures are the same every time, hold what the scene says, and every colour stands out from every background."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from llm4gen_data.scenes.outlines import outline
from llm4gen_data.scenes.render import draw_background, mark_color, render
from llm4gen_data.scenes.sample import Scene, SceneObject, sample_scene
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, COLORS, SHAPES, TEXTURES


def test_equal_scenes_give_equal_pixels() -> None:
    digests = {hashlib.sha256(render(sample_scene(3)).tobytes()).hexdigest() for _ in range(3)}
    assert len(digests) == 1


@pytest.mark.parametrize("size_px", [32, 64, 256])
def test_any_size_shows_the_same_scene(size_px: int) -> None:
    picture = render(sample_scene(5), size_px)
    assert picture.size == (size_px, size_px)
    small = np.asarray(picture.resize((32, 32)), dtype=float)
    assert np.abs(small - np.asarray(render(sample_scene(5), 32), dtype=float)).mean() < 4


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_fill_the_unit_circle_but_stay_within(shape: str) -> None:
    reach = max((x**2 + y**2) ** 0.5 for x, y in outline(shape))
    assert 0.9 < reach <= (1.1 if shape == "heart" else 1.0 + 1e-9)


def test_every_object_differs_from_the_background_where_it_is_and_only_there() -> None:
    for seed in range(40):
        scene = sample_scene(seed, split="any")
        empty = np.asarray(draw_background(scene.background, 512).reduce(8), dtype=float)
        changed = np.abs(np.asarray(render(scene), dtype=float) - empty).max(axis=2) > 6
        ys, xs = np.mgrid[:64, :64] + 0.5
        near = np.zeros_like(changed)
        for o in scene.objects:
            disc = (xs - o.x) ** 2 + (ys - o.y) ** 2 <= (1.1 * o.radius + 1) ** 2
            assert (changed & disc).sum() > 60
            near |= disc
        assert not (changed & ~near).any()


def test_textures_of_one_shape_are_far_apart_even_when_small() -> None:
    o = SceneObject("circle", "red", "solid", "small", 32, 32, 8)
    pictures = [
        np.asarray(render(Scene(0, "gray", (replace(o, texture=texture),))), dtype=float) for texture in TEXTURES
    ]
    for i, a in enumerate(pictures):
        for b in pictures[i + 1 :]:
            assert (np.abs(a - b).sum(axis=2) > 60).sum() > 30


def test_colors_and_their_marks_stand_out_from_each_other_and_from_all_backgrounds() -> None:
    grounds = [c for background in BACKGROUNDS.values() for c in (background.first, background.second)]

    def distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
        return float(np.linalg.norm(np.subtract(a, b)))

    for name, color in COLORS.items():
        assert min(distance(color, ground) for ground in grounds) > 58
        assert min(distance(mark_color(name), ground) for ground in grounds) > 58
        assert distance(color, mark_color(name)) > 70
        assert min(distance(color, other) for other in COLORS.values() if other != color) > 60
