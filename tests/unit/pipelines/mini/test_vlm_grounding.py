import random
from dataclasses import replace

import pytest
import torch

from llm4gen_data.scenes.dense import MIN_WORDS
from llm4gen_data.scenes.describe import dense_caption, medium_caption
from llm4gen_data.scenes.sample import Scene, SceneObject, sample_scene
from llm4gen_data.scenes.score import caption_scores, nameable_relation_score
from llm4gen_data.scenes.vocabulary import HELD_OUT_PAIRS
from pipelines.mini.vlm_asking import binding_questions, relation_questions, twin_questions
from pipelines.mini.vlm_batch import IGNORED
from pipelines.mini.vlm_grounding import NOTHING_MORE, GroundingHead, facts_of, mentions
from pipelines.mini.vlm_telling import MAX_WORDS, telling_caption
from pipelines.mini.vlm_texts import cells_to_come

SCENE = Scene(
    0,
    "gray",
    (
        SceneObject("circle", "red", "solid", "small", 16.0, 16.0, 8.0),
        SceneObject("circle", "blue", "striped", "small", 16.0, 48.0, 8.0),
        SceneObject("star", "red", "dotted", "large", 48.0, 32.0, 13.0),
    ),
)
SCENES = [sample_scene(seed) for seed in range(60)]


def test_mentions_are_nouns_with_the_adjectives_before_them() -> None:
    text = "Left of the small, red striped circle lies a star; the blue one is large. Dark bands cross it."
    found = [(text[: m.end].split()[-1], m.shape, m.attributes) for m in mentions(text)]
    assert found == [
        ("circle", "circle", {"size": "small", "color": "red", "texture": "striped"}),
        ("star", "star", {}),
        ("one", None, {"color": "blue"}),
    ]


def test_a_mention_has_the_facts_of_the_objects_that_it_fits() -> None:
    (_, star), (_, blue) = facts_of("the star above the blue circle", SCENE, may_lack=False)
    assert star == (1, 11, 0.25, 0.25, 0.0, 0.0, 0, 2, 1)
    assert blue[:6] == (1, 13, -0.25, -0.25, 0.25, 0.25)


def test_what_could_be_two_objects_is_left_out_unless_it_is_counted() -> None:
    assert list(facts_of("the circle", SCENE, may_lack=False)) == []
    assert [fact[0] for _, fact in facts_of("Are there two circles or a heart?", SCENE, may_lack=True)] == [2, 0]


def test_the_head_learns_places_only_of_what_is_there() -> None:
    facts = torch.tensor([fact for _, fact in facts_of("Is there a heart or a star?", SCENE, may_lack=True)])
    head = GroundingHead(8)
    hidden = torch.randn(2, 8, requires_grad=True)
    head(hidden, facts)["place"].backward()
    assert hidden.grad is not None
    assert hidden.grad[0].abs().sum() == 0  # of the heart
    assert hidden.grad[1].abs().sum() > 0


def test_captions_for_training_are_true_and_tell_more_relations_than_the_grammars_own() -> None:
    told = [telling_caption(scene, random.Random(scene.seed)) for scene in SCENES]
    assert all(MIN_WORDS <= len(text.split()) <= MAX_WORDS for text in told)
    scores = caption_scores(SCENES, told)
    assert all(score.precision == 1 for score in scores.values())
    assert all(scores[kind].recall == 1 for kind in ("object", "color", "texture", "size"))
    ours = nameable_relation_score(SCENES, told)
    theirs = nameable_relation_score(SCENES, [dense_caption(s, random.Random(s.seed)) for s in SCENES])
    assert (ours.recall or 0) > (theirs.recall or 0) + 0.15


def test_captions_for_training_name_the_leftmost_object_first_and_relate_each_to_those_before_it() -> None:
    first, *relations = telling_caption(SCENE, random.Random(0)).split(". ")[:4]
    named = [(m.attributes["color"], m.shape) for m in mentions(first) if m.shape]
    assert named == [("red", "circle"), ("blue", "circle"), ("red", "star")]
    pairs = [[(m.attributes.get("color"), m.shape) for m in mentions(text)] for text in relations]
    assert [[shape for _, shape in pair] for pair in pairs] == [
        ["circle", "circle"],
        ["circle", "star"],
        ["circle", "star"],
    ]


@pytest.mark.parametrize("seed", range(12))
def test_relation_questions_come_in_pairs_of_opposite_answers(seed: int) -> None:
    asked = relation_questions(SCENES[seed], random.Random(0), 3)
    assert [question.answer for question in asked] == ["yes", "no"] * (len(asked) // 2)
    assert len({question.question for question in asked}) == len(asked)


def test_words_of_a_relation_question_are_swapped() -> None:
    asked = relation_questions(SCENE, random.Random(1), 9)
    said = {question.question: question.answer for question in asked}
    yes = "Is the red circle above the blue circle?", "Is the blue circle below the red circle?"
    no = "Is the blue circle above the red circle?", "Is the red circle below the blue circle?"
    assert sum(said.get(text) == "yes" for text in yes) == 1
    assert sum(said.get(text) == "no" for text in no) == 1
    assert not any(said.get(text) == "no" for text in yes)


def test_binding_questions_mix_what_is_there() -> None:
    assert binding_questions(SCENE, random.Random(0)) == []  # a blue star is held out
    scene = replace(SCENE, objects=(*SCENE.objects[:2], replace(SCENE.objects[2], shape="pentagon")))
    yes, no = binding_questions(scene, random.Random(0))
    assert (yes.question, yes.answer) == ("Is there a red pentagon in the picture?", "yes")
    assert (no.question, no.answer) == ("Is there a blue pentagon in the picture?", "no")


def test_no_held_out_pair_is_asked_of_a_training_scene() -> None:
    texts = " ".join(q.question for scene in SCENES for q in binding_questions(scene, random.Random(0)))
    assert not any(f"{color} {shape}" in texts for color, shape in HELD_OUT_PAIRS)


def test_cells_to_come_lead_from_one_named_object_to_the_next() -> None:
    named = [(2, (1, 11, 0.0)), (4, (1, 3, 0.0))]
    assert cells_to_come(named, [IGNORED, 9, 9, 9, 9, 9]) == [IGNORED, 11, 3, 3, NOTHING_MORE, NOTHING_MORE]


def test_twins_differ_in_words_or_in_the_picture_only() -> None:
    kinds = set()
    for scene in SCENES:
        for twin in twin_questions(scene, random.Random(scene.seed), "unseen"):
            (first, here), (second, there) = twin.asked
            kinds.add(twin.kind)
            assert (first.answer, second.answer) == ("yes", "no")
            assert here == scene
            assert (first.question == second.question) == (twin.kind != "words swapped") == (there != scene)
    assert kinds == {"words swapped", "picture mirrored", "colors swapped", "object removed"}


def test_changed_pictures_of_the_train_split_hold_no_held_out_pair() -> None:
    count = {split: sum(len(twin_questions(s, random.Random(0), split)) for s in SCENES) for split in ("train", "any")}
    assert 0 < count["train"] < count["any"]


def test_medium_captions_have_mentions() -> None:
    told = [list(facts_of(medium_caption(s, random.Random(0)), s, may_lack=False)) for s in SCENES]
    assert sum(bool(found) for found in told) > 0.9 * len(SCENES)
