"""Things under way: told apart from each other, without attributes that contradict or repeat."""

import random
import re

import pytest

from llm4gen_data.densprompts.sketch import Sketch, content_words
from llm4gen_data.densprompts.vocabulary import lexicon


def sketch(seed: int, skill: str = "color") -> Sketch:
    return Sketch(random.Random(seed), lexicon(), lexicon().settings[0], skill, set())


@pytest.mark.parametrize(("text", "words"), [("three yo-yos", {"three", "yo-yo"}), ("a pair of shoes", {"sho"})])
def test_content_words_agree_in_singular_and_plural(text: str, words: set[str]) -> None:
    assert content_words(text) == words


def test_the_same_thing_does_not_come_twice() -> None:
    made = sketch(0)
    nouns = lexicon().nouns
    made.add(nouns["kettle"])
    assert not made.fits(nouns["kettle"])
    assert made.fits(nouns["stool"])


def test_attributes_do_not_repeat_the_name_or_another_thing() -> None:
    kinds = list(lexicon().nouns.values())
    for seed in range(300):
        made = sketch(seed)
        noun, *others = made.rng.sample(kinds, 3)
        entity = made.entities[made.add(noun)]
        for value in (entity.color, entity.look, entity.shape, entity.size):
            assert value is None or not content_words(value) & content_words(noun.name)
        if entity.material is not None:
            assert lexicon().materials[entity.material] not in noun.name.split()
        for other in others:
            second = made.entities[made.add(other)]
            repeated = second.color is not None and second.color == entity.color
            assert not repeated or set(other.colors) <= {e.color for e in made.entities}
            assert second.action is None or second.action not in {e.action for e in made.entities[:-1]}
            assert second.part is None or second.part not in {e.part for e in made.entities[:-1]}


def test_who_is_bearded_is_a_man_or_an_animal() -> None:
    people = [noun for noun in lexicon().nouns.values() if noun.kind == "person"]
    for seed in range(400):
        made = sketch(seed, "texture")
        entity = made.entities[made.add(made.rng.choice(people))]
        if entity.look is not None and re.search("beard|bald", entity.look):
            assert entity.pronoun in ("he", "they")
