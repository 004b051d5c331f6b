"""Questions from the facts of a scene: their words are those that vlm-mini knows, and the truth answers yes."""

import random

from benchmarks.metrics.questions import in_order
from benchmarks.metrics.scene_questions import scene_questions
from llm4gen_data.scenes.facts import Facts, ObjectFact, truth_facts
from llm4gen_data.scenes.questions import questions
from llm4gen_data.scenes.sample import sample_scene


def test_attributes_and_relations_depend_on_their_objects() -> None:
    facts = Facts(
        (ObjectFact("circle", "red", "striped", "small"), ObjectFact("square", "blue")), frozenset({(0, "left of", 1)})
    )
    own = {question.question: question for question in scene_questions(facts)}
    assert list(own) == [
        "Is there a circle in the picture?",
        "Is there a square in the picture?",
        "Is the circle red?",
        "Is the circle striped?",
        "Is the circle small?",
        "Is the square blue?",
        "Is the circle to the left of the square?",
        "Are there exactly two objects in the picture?",
    ]
    assert own["Is the square blue?"].parent_ids == ("q02",)
    assert own["Is the circle to the left of the square?"].parent_ids == ("q01", "q02")
    assert {question.answer for question in own.values()} == {"yes"}


def test_objects_of_one_shape_are_told_apart_by_color_and_equal_ones_asked_once() -> None:
    twins = (ObjectFact("star", "red"), ObjectFact("star", "red"), ObjectFact("star", "green", "dotted"))
    texts = [question.question for question in scene_questions(Facts(twins))]
    assert texts == [
        "Is there a red star in the picture?",
        "Is there a green star in the picture?",
        "Is the green star dotted?",
        "Are there exactly three objects in the picture?",
    ]
    unclear = (ObjectFact("star", "red", "solid"), ObjectFact("star", "red", "dotted"))
    assert len(scene_questions(Facts(unclear))) == 2  # that there is one, and how many there are


def test_every_question_of_drawn_scenes_is_in_the_words_of_the_training_set() -> None:
    """Questions answered yes there and asked here as well are the same texts."""
    shared = 0
    for seed in range(40):
        scene = sample_scene(seed)
        ours = {question.question for question in scene_questions(truth_facts(scene))}
        assert in_order(scene_questions(truth_facts(scene)))
        theirs = {own.question: own for own in questions(scene, random.Random(seed))}
        assert all(theirs[text].answer == "yes" for text in ours & theirs.keys())
        shared += len(ours & theirs.keys())
    assert shared > 150
