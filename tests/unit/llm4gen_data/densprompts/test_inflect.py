"""English forms."""

import re

import pytest

from llm4gen_data.densprompts.inflect import (
    article,
    enumeration,
    participle,
    plain_form,
    plural,
    possessed,
    third_person,
)
from llm4gen_data.densprompts.vocabulary import lexicon


@pytest.mark.parametrize(
    "word", ["apple", "old car", "umbrella", "hourglass", "orange", "uneven", "ice floe", "autumnal", "egg", "eight"]
)
def test_an(word: str) -> None:
    assert article(word) == "an"


@pytest.mark.parametrize("word", ["car", "unicorn", "one-eyed bear", "used book", "ukulele", "eucalyptus", "yo-yo"])
def test_a(word: str) -> None:
    assert article(word) == "a"


@pytest.mark.parametrize(
    ("singular", "several"),
    [
        ("fox", "foxes"),
        ("berry", "berries"),
        ("toy", "toys"),
        ("cup of tea", "cups of tea"),
        ("loaf of bread", "loaves of bread"),
        ("businesswoman", "businesswomen"),
        ("ottoman", "ottomans"),
        ("street lamp", "street lamps"),
        ("angelfish", "angelfish"),
        ("chef's knife", "chef's knives"),
        ("bookcase", "bookcases"),
    ],
)
def test_plurals(singular: str, several: str) -> None:
    assert plural(singular) == several


def test_verbs() -> None:
    assert third_person("carry a load") == "carries a load"
    assert third_person("be parked") == "is parked"
    assert plain_form("be parked") == "are parked"
    assert plain_form("graze") == "graze"
    forms = {"lie": "lying", "sit": "sitting", "gaze": "gazing", "see": "seeing", "chop herbs": "chopping herbs"}
    forms |= {"be moored": "moored", "draw": "drawing", "play": "playing", "listen": "listening"}
    for verb, expected in forms.items():
        assert participle(verb) == expected


def test_several_animals_have_a_tail_each() -> None:
    assert possessed("wag its tail", "they") == "wag their tails"
    assert possessed("chase its own tail", "they") == "chase their own tails"
    assert possessed("hide its face behind both hands", "she") == "hide her face behind both hands"
    assert possessed("spread its wings", "they") == "spread their wings"


def test_enumeration() -> None:
    assert [enumeration(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b, and c"]


def test_no_plural_of_the_lexicon_is_its_singular_with_a_doubled_ending() -> None:
    for noun in lexicon().nouns:
        assert plural(noun) == noun or not re.search(r"(?:ss|geeses|(?:wo|[^aeiou])mens)$", plural(noun)), noun
