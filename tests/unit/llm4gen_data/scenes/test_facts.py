"""Facts are read out of captions as a careful reader would, and compared object by object."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.scenes.dense import compose
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.facts import (
    KINDS,
    Counts,
    Facts,
    ObjectFact,
    canonical_relations,
    caption_facts,
    compare,
    compare_nameable_relations,
    truth_facts,
    with_entailed,
)
from llm4gen_data.scenes.sample import Scene, counterfactuals, sample_scene

SCENES = [sample_scene(seed, split="any") for seed in range(3000, 3400)]


def stated_facts(scene: Scene, relations: frozenset[object]) -> Facts:
    """The truth, as far as relations go only what a caption states."""
    stated = ((r.subject, r.relation, r.object) for r in relations)  # type: ignore[attr-defined]
    truth = truth_facts(scene)
    return Facts(truth.objects, canonical_relations(stated), truth.background)


@pytest.mark.parametrize("held_out_synonyms", [False, True])
def test_own_dense_captions_are_understood(held_out_synonyms: bool) -> None:
    total = dict.fromkeys(KINDS, (0, 0, 0))
    backgrounds = 0
    started = time.perf_counter()
    for scene in SCENES:
        caption = compose(scene, random.Random(scene.seed), held_out_synonyms=held_out_synonyms)
        claimed, stated = caption_facts(caption.text), stated_facts(scene, caption.relations)
        backgrounds += claimed.background == scene.background
        for kind, c in compare(claimed, stated).items():
            right, wrong, missed = total[kind]
            total[kind] = (right + c.true_positive, wrong + c.false_positive, missed + c.false_negative)
    print(f"\nheld-out synonyms: {held_out_synonyms}; {time.perf_counter() - started:.2f} s with composing")
    for kind, (right, wrong, missed) in total.items():
        precision, recall = right / (right + wrong), right / (right + missed)
        print(f"{kind:9} precision {precision:.4f}  recall {recall:.4f}  of {right + missed} facts")
        assert min(precision, recall) >= 0.98
    print(f"background {backgrounds / len(SCENES):.4f}")
    assert backgrounds / len(SCENES) >= 0.98


def test_a_caption_of_a_changed_scene_disagrees_in_what_was_changed() -> None:
    changed_kind = {"colors_swapped": "color", "relation_mirrored": "relation", "count_changed": "object"}
    disagreements = dict.fromkeys(changed_kind, 0)
    n = dict.fromkeys(changed_kind, 0)
    for scene in SCENES[:200]:
        for change, other in counterfactuals(scene).items():
            counts = compare(caption_facts(dense_caption(other, random.Random(1))), truth_facts(scene))
            n[change] += 1
            kind = counts[changed_kind[change]]
            disagreements[change] += kind.false_positive + kind.false_negative > 0
    for change, found in disagreements.items():
        assert found / n[change] > 0.9, change


RED_CIRCLE = ObjectFact("circle", "red")
BLUE_STAR = ObjectFact("star", "blue")


@pytest.mark.parametrize(
    ("text", "objects", "relations"),
    [
        ("A red circle left of a blue star", (RED_CIRCLE, BLUE_STAR), {(0, "left of", 1)}),
        ("A circle and a star. The former is red, the latter blue.", (RED_CIRCLE, BLUE_STAR), set()),
        ("A circle and a star. The latter is blue, the former is red.", (RED_CIRCLE, BLUE_STAR), set()),
        ("Red belongs to the circle, blue to the star.", (RED_CIRCLE, BLUE_STAR), set()),
        ("A red circle. Below it rests a star. Its color is blue.", (RED_CIRCLE, BLUE_STAR), {(0, "above", 1)}),
        ("A red circle. Its neighbor to the right is a blue star.", (RED_CIRCLE, BLUE_STAR), {(0, "left of", 1)}),
        ("A red circle. It has a blue star to its left.", (RED_CIRCLE, BLUE_STAR), {(1, "left of", 0)}),
        ("A red circle. A blue star sits on its left.", (RED_CIRCLE, BLUE_STAR), {(1, "left of", 0)}),
        ("From top to bottom, one sees a red disc and an azure star.", (RED_CIRCLE, BLUE_STAR), {(0, "above", 1)}),
        ("A circle on a pale blue background that is plain. It is red.", (RED_CIRCLE,), set()),
        ("In the lower left corner, a scarlet roundel stands there in plain sight.", (RED_CIRCLE,), set()),
        ("Two stars. They are blue.", (BLUE_STAR, BLUE_STAR), set()),
        ("A circle whose color is red, and a star, which is blue.", (RED_CIRCLE, BLUE_STAR), set()),
        ("a a red red circle circle is of the", (RED_CIRCLE, ObjectFact("circle")), set()),
        ("crimson-circle-3.jpg", (RED_CIRCLE,), set()),
        ("", (), set()),
    ],
)
def test_coreference(text: str, objects: tuple[ObjectFact, ...], relations: set[tuple[int, str, int]]) -> None:
    facts = caption_facts(text)
    assert facts.objects == objects
    assert facts.relations == relations


def test_marks_describe_whom_they_cover() -> None:
    facts = caption_facts("A large circle with dark stripes and a star. Dark dots cover the star, and it is small.")
    assert facts.objects == (
        ObjectFact("circle", None, "striped", "large"),
        ObjectFact("star", None, "dotted", "small"),
    )


# Shuffled words of true captions: what a captioner that has not learned much might say.
WORDS = sorted({w for s in SCENES[:100] for w in dense_caption(s, random.Random(0), held_out_synonyms=True).split()})


@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=80).map(" ".join)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_accepted(text: str) -> None:
    facts = caption_facts(text)
    for a, relation, b in facts.relations:
        assert relation in ("left of", "above")
        assert {a, b} <= set(range(len(facts.objects)))
    for counts in compare(facts, truth_facts(SCENES[0])).values():
        assert min(counts.true_positive, counts.false_positive, counts.false_negative) >= 0


def test_attributes_count_only_for_objects_that_are_there() -> None:
    truth = Facts((ObjectFact("circle", "red", "solid", "small"),))
    counts = compare(Facts((ObjectFact("square", "red", "solid", None),)), truth)
    assert counts["object"] == Counts(0, 1, 1)
    assert counts["color"] == Counts(0, 1, 1)
    assert counts["size"] == Counts(0, 0, 1)


def test_equal_objects_are_matched_so_that_relations_hold() -> None:
    star = ObjectFact("star", "blue", "solid", "small")
    heart = ObjectFact("heart", "red", "solid", "small")
    truth = Facts((star, star, heart), frozenset({(0, "left of", 2), (2, "left of", 1), (0, "left of", 1)}))
    claimed = Facts((star, star, heart), frozenset({(1, "left of", 2), (2, "left of", 0)}))
    assert compare(claimed, truth)["relation"] == Counts(2, 0, 1)


def test_an_object_without_a_told_shape_is_matched_by_its_attributes() -> None:
    truth = Facts((ObjectFact("star", "blue"), ObjectFact("heart", "red")))
    counts = compare(Facts((ObjectFact(None, "red"),)), truth)
    assert counts["object"] == Counts(1, 0, 1)
    assert counts["color"] == Counts(1, 0, 1)


def test_relations_follow_from_each_other_along_one_axis() -> None:
    told = frozenset({(0, "left of", 1), (1, "left of", 2), (2, "left of", 3), (1, "above", 3), (3, "above", 0)})
    follow = {(0, "left of", 2), (0, "left of", 3), (1, "left of", 3), (1, "above", 0)}
    assert with_entailed(told) == told | follow


def test_what_follows_from_a_right_claim_is_right_and_from_a_wrong_one_wrong() -> None:
    objects = tuple(ObjectFact(shape) for shape in ("circle", "star", "heart"))
    truth = Facts(objects, frozenset({(0, "left of", 1), (1, "left of", 2), (0, "left of", 2), (0, "above", 2)}))
    told = Facts(objects, frozenset({(0, "left of", 1), (1, "left of", 2)}))
    assert compare(told, truth)["relation"] == Counts(2, 0, 2)
    assert compare_nameable_relations(told, truth) == Counts(3, 0, 1)
    wrong = Facts(objects, frozenset({(1, "left of", 0), (0, "left of", 2)}))
    assert compare_nameable_relations(wrong, truth) == Counts(2, 1, 2)  # star left of heart follows, and holds


def test_relations_between_equal_objects_need_no_words() -> None:
    objects = (ObjectFact("circle", "red"), ObjectFact("circle", "red"), ObjectFact("star"))
    truth = Facts(objects, frozenset({(0, "above", 1), (0, "left of", 2), (1, "left of", 2)}))
    told = Facts(objects, frozenset({(0, "left of", 2), (1, "left of", 2)}))
    assert compare(told, truth)["relation"] == Counts(2, 0, 1)
    assert compare_nameable_relations(told, truth) == Counts(2, 0, 0)


def test_what_follows_from_true_captions_is_true() -> None:
    for scene in SCENES[:100]:
        claimed = caption_facts(dense_caption(scene, random.Random(scene.seed)))
        assert compare_nameable_relations(claimed, truth_facts(scene)).false_positive == 0
