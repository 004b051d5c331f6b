"""Scenes keep their promises: no contact, the right splits, relations that hold, one thing changed at a time."""

from collections import Counter
from itertools import combinations

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.sample import (
    BORDER_GAP_PX,
    OBJECT_GAP_PX,
    RELATION_MARGIN_PX,
    Relation,
    Scene,
    counterfactuals,
    counts,
    relations,
    sample_scene,
)
from llm4gen_data.scenes.vocabulary import FRAME_PX, HELD_OUT_PAIRS, OPPOSITE_RELATION, is_held_out, size_of_radius

SCENES = [sample_scene(seed, split="any") for seed in range(500)]


def test_a_seed_gives_the_same_scene_every_time_and_splits_differ() -> None:
    assert sample_scene(7) == sample_scene(7)
    assert sample_scene(7) != sample_scene(8)
    assert sample_scene(7, split="unseen") != sample_scene(7, split="any")


def test_objects_stay_in_the_frame_and_never_touch() -> None:
    for scene in SCENES:
        assert 1 <= len(scene.objects) <= 4
        for o in scene.objects:
            assert o.radius >= 8
            assert o.size == size_of_radius(o.radius)
            assert o.radius + BORDER_GAP_PX <= min(o.x, o.y, FRAME_PX - o.x, FRAME_PX - o.y)
        for a, b in combinations(scene.objects, 2):
            assert ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5 >= a.radius + b.radius + OBJECT_GAP_PX


def test_training_scenes_hold_no_held_out_pair_and_unseen_scenes_hold_one() -> None:
    for seed in range(300):
        held_out = {
            split: any(is_held_out(o.shape, o.color, o.texture) for o in sample_scene(seed, split=split).objects)
            for split in ("train", "unseen")
        }
        assert held_out == {"train": False, "unseen": True}
    asked = {(a, o.shape) for s in range(600) for o in sample_scene(s, split="unseen").objects for a in o.kind[1:3]}
    assert asked >= HELD_OUT_PAIRS


def test_an_unknown_split_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match="'test' is not one of train, unseen, any"):
        sample_scene(0, split="test")  # type: ignore[arg-type]


def test_relations_hold_by_a_margin_and_come_both_ways_round() -> None:
    for scene in SCENES:
        found = relations(scene)
        for r in found:
            assert Relation(r.object, OPPOSITE_RELATION[r.relation], r.subject) in found
            a, b = scene.objects[r.subject], scene.objects[r.object]
            gap = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[r.relation]
            assert gap >= RELATION_MARGIN_PX


def test_every_kind_of_scene_occurs() -> None:
    sizes = Counter(len(scene.objects) for scene in SCENES)
    assert set(sizes) == {1, 2, 3, 4}
    assert 0.08 < sum(len({o.kind for o in s.objects}) < len(s.objects) for s in SCENES) / len(SCENES) < 0.35


def test_a_scene_survives_json() -> None:
    for scene in SCENES[:50]:
        assert Scene.from_dict(scene.to_dict()) == scene


def test_counts_are_by_shape() -> None:
    for scene in SCENES[:50]:
        assert sum(counts(scene).values()) == len(scene.objects)
        assert all(n == sum(o.shape == shape for o in scene.objects) for shape, n in counts(scene).items())


def test_counterfactuals_change_one_thing() -> None:
    seen = Counter[str]()
    for scene in SCENES:
        changed = counterfactuals(scene)
        seen.update(changed.keys())
        if swapped := changed.get("colors_swapped"):
            assert sorted(o.color for o in swapped.objects) == sorted(o.color for o in scene.objects)
            assert Counter(o.kind for o in swapped.objects) != Counter(o.kind for o in scene.objects)
            assert [(o.shape, o.x, o.y) for o in swapped.objects] == [(o.shape, o.x, o.y) for o in scene.objects]
        if mirrored := changed.get("relation_mirrored"):
            assert [o.kind for o in mirrored.objects] == [o.kind for o in scene.objects]
            assert set(relations(mirrored)) != set(relations(scene))
        if fewer := changed.get("count_changed"):
            assert len(fewer.objects) == len(scene.objects) - 1
    assert all(seen[key] > 200 for key in ("colors_swapped", "relation_mirrored", "count_changed"))
