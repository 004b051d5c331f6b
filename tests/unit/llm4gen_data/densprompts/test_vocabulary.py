"""The lexicon holds together."""

import re

from llm4gen_data.densprompts.taxonomy import QUOTAS
from llm4gen_data.densprompts.vocabulary import lexicon, lexicon_sha256

WHERE = {"floor", "surface", "wall", "water", "sky", "far", "perch", "worn"}
KINDS = {"person", "animal", "plant", "food", "object", "sign", "building", "vehicle", "landform", "sky"}


def test_every_noun_can_be_placed_and_described() -> None:
    words = lexicon()
    assert len(words.nouns) >= 900
    for noun in words.nouns.values():
        assert noun.where in WHERE, noun
        assert noun.kind in KINDS, noun
        assert noun.posture, noun
        assert noun.max_count <= 6, noun
        assert set(noun.materials) <= set(words.materials), noun
        assert noun.pronoun in (None, "she", "he"), noun
        assert noun.colors or noun.materials or noun.looks or noun.sizes or noun.shapes, noun


def test_every_group_is_used_and_every_category_has_settings() -> None:
    words = lexicon()
    used = {group for s in words.settings for groups in (s.groups, *s.categories.values()) for group in groups}
    assert set(words.groups) - used == {"clothing"}
    for category in QUOTAS:
        assert sum(category in setting.categories for setting in words.settings) >= 5, category
    assert {category for setting in words.settings for category in setting.categories} == set(QUOTAS)
    assert {setting.light for setting in words.settings} == set(words.lights)


def test_details_are_clauses_without_capital_or_stop() -> None:
    for setting in lexicon().settings:
        for detail in setting.details:
            assert re.match(r"(?:[a-z]|Earth|the Earth)", detail), detail
            assert not detail.endswith("."), detail
        assert re.match(r"(?:in|on|at|above|along) ", setting.phrase) or setting.phrase.startswith("in front of ")


def test_written_texts_are_distinct() -> None:
    texts = lexicon().texts
    assert len(set(texts)) == len(texts)
    assert all(text == text.upper() for text in texts)


def test_the_hash_is_stable() -> None:
    assert lexicon_sha256() == lexicon_sha256()
    assert len(lexicon_sha256()) == 64
