"""Captions: true, long enough, varied, and free of the words that are held out."""

import random
import re
from collections import Counter

from llm4gen_data.scenes.dense import MAX_WORDS, MIN_WORDS, compose
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.facts import caption_facts, compare, truth_facts
from llm4gen_data.scenes.sample import relations, sample_scene
from llm4gen_data.scenes.vocabulary import HELD_OUT_SYNONYMS

SCENES = [sample_scene(seed) for seed in range(600)]
DENSE = [dense_caption(scene, random.Random(scene.seed)) for scene in SCENES]


def test_dense_captions_have_50_to_95_words_and_about_70_on_average() -> None:
    lengths = [len(text.split()) for text in DENSE]
    mean = sum(lengths) / len(lengths)
    print(f"dense captions: {min(lengths)} to {max(lengths)} words, mean {mean:.1f}")
    assert (min(lengths), max(lengths)) >= (MIN_WORDS, 0)
    assert max(lengths) <= MAX_WORDS
    assert 66 < mean < 78


def test_stated_relations_are_true() -> None:
    for scene in SCENES:
        assert compose(scene, random.Random(scene.seed)).relations <= set(relations(scene))


def test_a_caption_depends_on_nothing_but_scene_and_random_state() -> None:
    assert DENSE[5] == dense_caption(SCENES[5], random.Random(5))
    assert len({dense_caption(SCENES[5], random.Random(k)) for k in range(50)}) == 50


def test_openings_and_sentence_counts_vary() -> None:
    openings = Counter(" ".join(text.split()[:3]) for text in DENSE)
    assert len(openings) > 120
    assert openings.most_common(1)[0][1] < 0.12 * len(DENSE)
    assert len({text.count(".") for text in DENSE}) >= 5


def test_no_sentence_is_left_unfilled_or_doubled() -> None:
    for text in DENSE:
        assert "{" not in text
        assert not re.search(r"\b(\w+) \1\b|  |\ba [aeio]|\ban [bcdfgjklmnpqrstvwxyz]|''|'s's| ,", text), text
        sentences = text.split(". ")
        assert len(set(sentences)) == len(sentences), text
        assert all(sentence[0].isupper() for sentence in sentences)


def test_training_text_has_a_moderate_vocabulary_without_the_held_out_words() -> None:
    words = Counter[str]()
    for scene, dense in zip(SCENES, DENSE, strict=True):
        rng = random.Random(scene.seed)
        texts = [dense, short_caption(scene, rng), medium_caption(scene, rng)]
        words.update(re.findall(r"[a-z][a-z'-]*", " ".join(texts).lower()))
    print(f"{len(words)} distinct words")
    assert 300 < len(words) < 700
    held_out = {synonym for synonyms in HELD_OUT_SYNONYMS.values() for synonym in synonyms}
    assert not {word for phrase in held_out for word in phrase.split()[:1]} & set(words)


def test_held_out_synonyms_appear_only_when_asked_for() -> None:
    held_out = {synonym for synonyms in HELD_OUT_SYNONYMS.values() for synonym in synonyms}
    for scene in SCENES[:200]:
        text = dense_caption(scene, random.Random(scene.seed), held_out_synonyms=True).lower()
        assert any(re.search(rf"\b{re.escape(word)}", text) for word in held_out), text


def test_short_captions_name_all_objects_with_colors_in_one_clause() -> None:
    for scene in SCENES[:300]:
        text = short_caption(scene, random.Random(scene.seed))
        assert len(text.split()) <= 28
        counts = compare(caption_facts(text), truth_facts(scene))
        assert (counts["object"].false_positive, counts["object"].false_negative) == (0, 0), text
        assert (counts["color"].false_positive, counts["color"].false_negative) == (0, 0), text
        assert counts["relation"].false_positive == 0, text


def test_medium_captions_tell_all_attributes() -> None:
    for scene in SCENES[:300]:
        text = medium_caption(scene, random.Random(scene.seed))
        counts = compare(caption_facts(text), truth_facts(scene))
        for kind in ("object", "color", "texture", "size"):
            assert (counts[kind].false_positive, counts[kind].false_negative) == (0, 0), text
        assert counts["relation"].false_positive == 0, text
