from collections import Counter

import pytest

pytest.importorskip("spacy")

from benchmarks.suites.t2i_compbench import language
from benchmarks.suites.t2i_compbench.labels import NO_UNIDET_CLASS
from benchmarks.suites.t2i_compbench.nouns import PLURAL_OF
from llm4gen_data.densprompts.audit.linguistic import load_pipeline
from llm4gen_data.errors import UserError
from tests.unit.benchmarks.suites.t2i_compbench.data import lines, needs_prompt_files

pytestmark = pytest.mark.skipif(load_pipeline() is None, reason="no English spaCy model")


def test_noun_phrases_are_chunks_without_the_stop_list() -> None:
    prompt = "a green bench and a blue bowl"
    assert language.noun_phrases(prompt) == ["a green bench", "a blue bowl"]
    on_top = "The red hat was on top of the brown coat rack."
    assert "top" in language.noun_chunks(on_top)
    assert language.noun_phrases(on_top) == ["The red hat", "the brown coat rack"]
    assert language.asked_phrases(language.noun_chunks(on_top), 2, frozenset()) == ["The red hat", "top"]
    many = "a cat, a dog, a cow, a pig, a fox, a hen, a bee, a car, a bus and a van"
    assert len(language.noun_chunks(many)) == 10
    assert len(language.noun_phrases(many)) == 8


@pytest.mark.parametrize(
    ("phrase", "question"),
    [
        ("A Red apple", "a red apple?"),
        ('the "big" (round) #1 cup.', "the big round 1 cup?"),
        ("a~b:c;d*e!", "abcde?"),
        ("what?", "what??"),
        (" ".join(["word"] * 60), " ".join(["word"] * 50)),
    ],
)
def test_questions_are_cleaned_as_blip_cleans_them(phrase: str, question: str) -> None:
    assert language.blip_question(phrase) == question


def test_spatial_triplets_are_first_and_last_noun() -> None:
    assert language.spatial_triplet("a giraffe next to a lamp") == ("giraffe", "next to", "lamp")
    assert language.spatial_triplet("a girl on the top of a frog") == ("person", "on the top of", "frog")
    assert language.spatial_triplet("a mouse on side of a key") == ("mouse", "on side of", "key")
    assert language.spatial_3d_triplet("a desk hidden by a desk") == ("desk", "hidden", "desk")
    with pytest.raises(UserError, match="names no object"):
        language.spatial_triplet("slowly and quickly")


def test_relations_are_searched_for_in_the_protocols_order() -> None:
    near_and_left = "a cat near a dog on the left of a cow"
    assert language.relation_in(near_and_left, language.RELATIONS_2D) == "near"
    assert language.relation_in("a cat on top of a dog", language.RELATIONS_2D) == "on top of"
    assert language.relation_in("a cat over a dog", language.RELATIONS_2D) is None


def test_complex_triplets_need_exactly_two_objects() -> None:
    assert language.complex_spatial_triplet("The fluffy cat is on the left of the soft pillow.") == (
        "cat",
        "on the left of",
        "pillow",
    )
    assert language.complex_spatial_triplet("The cat sat in the sun.") is None
    assert language.complex_spatial_triplet("A cat next to a dog near a cow.") is None


def test_numbers_are_read_with_their_nouns() -> None:
    assert language.numeracy_objects("two boys") == {"boy": 2}
    assert language.numeracy_objects("a sheep, four mice and eight people") == {"sheep": 1, "mouse": 4, "person": 8}
    assert language.numeracy_objects("three sheep") == {"sheep": 3}
    assert language.numeracy_objects("one apple and nine dogs and two unicorns") == {"apple": 1}


def test_clip_reads_complex_prompts_without_adjectives() -> None:
    assert language.without_adjectives("The red hat was on the brown rack.") == "The hat was on the rack ."


def test_the_parser_is_named() -> None:
    assert language.parser_versions().startswith("spaCy 3.")
    assert "en_core_web_sm 3." in language.parser_versions()


@needs_prompt_files
def test_nouns_are_those_of_the_original_list() -> None:
    pairs = [line.split(" - ") for line in lines("new_objects.txt")]
    assert (len(pairs), len(PLURAL_OF)) == (101, 88)
    assert dict(pairs) == PLURAL_OF


@needs_prompt_files
def test_numeracy_prompts_are_read_as_the_protocol_reads_them() -> None:
    counts = Counter(len(language.numeracy_objects(prompt)) for prompt in lines("numeracy_val.txt"))
    assert counts == {1: 91, 2: 89, 3: 48, 4: 37, 5: 35}


@needs_prompt_files
def test_spatial_prompts_are_read_as_the_protocol_reads_them() -> None:
    pairs = [language.spatial_triplet(prompt) for prompt in lines("spatial_val.txt")]
    unreachable = [pair for pair in pairs if {pair.object_a, pair.object_b} & NO_UNIDET_CLASS]
    assert len(unreachable) == 100
    deep = [language.spatial_3d_triplet(prompt) for prompt in lines("3d_spatial_val.txt")]
    assert Counter(pair.relation for pair in deep) == {"in front of": 102, "behind": 83, "hidden": 115}
    assert sum(pair.object_a == pair.object_b for pair in deep) == 4
    assert sum(bool({pair.object_a, pair.object_b} & {"painting", "wallet"}) for pair in deep) == 20
