"""Specifications: plausible, about their skill, the same for the same seed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.densprompts.relations import HOLDING, SPATIAL, WEARING
from llm4gen_data.densprompts.sample import NEEDED, bucket_of, choose_alternatives, sample_spec, target_words
from llm4gen_data.densprompts.spec import Spec, skill_counts, spec_from_json
from llm4gen_data.densprompts.taxonomy import QUOTAS, skills_of
from llm4gen_data.densprompts.vocabulary import lexicon

SLOTS = [(category, skill) for category in QUOTAS for skill in skills_of(category)]


def drawn(seed: int, slot: tuple[str, str]) -> Spec:
    rng = random.Random(seed)
    return sample_spec(*slot, target_words(rng), rng)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SLOTS))
def test_specs_are_plausible(seed: int, slot: tuple[str, str]) -> None:
    spec = drawn(seed, slot)
    assert (spec.category, spec.skill) == slot
    assert skill_counts(spec)[spec.skill] >= NEEDED[spec.skill]
    assert 2 <= len(spec.entities) <= 6
    assert len({entity.noun for entity in spec.entities}) == len(spec.entities)
    for i, entity in enumerate(spec.entities):
        noun = lexicon().nouns[entity.noun]
        assert 1 <= entity.count <= noun.max_count
        for value, values in (
            (entity.color, noun.colors),
            (entity.material, noun.materials),
            (entity.size, noun.sizes),
            (entity.shape, noun.shapes),
            (entity.look, noun.looks),
            (entity.action, noun.actions),
            (entity.part, noun.parts),
        ):
            assert value is None or value in values
        assert entity.part is None or entity.count == 1
        anchored = entity.place is not None or any(
            (r.subject == i and r.name in SPATIAL and r.object < i) or (r.object == i and r.name in (WEARING, HOLDING))
            for r in spec.relations
        )
        assert i == 0 or anchored, entity


@pytest.mark.parametrize("slot", SLOTS, ids="-".join)
def test_every_category_yields_every_skill(slot: tuple[str, str]) -> None:
    assert drawn(1, slot) == drawn(1, slot)


def test_specs_survive_json_and_are_known_by_it() -> None:
    first, second = drawn(1, SLOTS[0]), drawn(2, SLOTS[0])
    assert spec_from_json(first.to_json()) == first
    assert first.spec_id != second.spec_id
    assert len(first.spec_id) == 64


def test_a_choice_takes_its_article_along() -> None:
    texts = {choose_alternatives("in a (old|new) house with an (tiny|open) door", random.Random(i)) for i in range(40)}
    assert texts == {
        f"in {first} house with {second} door" for first in ("an old", "a new") for second in ("a tiny", "an open")
    }


def test_target_lengths_have_the_shape_of_the_papers_histogram() -> None:
    rng = random.Random(0)
    lengths = [target_words(rng) for _ in range(5000)]
    assert 76 <= sum(lengths) / len(lengths) <= 80
    assert all(40 <= n <= 140 for n in lengths)
    assert {bucket_of(n) for n in (40, 69)} == {"short"}
    assert {bucket_of(n) for n in (70, 99)} == {"medium"}
    assert {bucket_of(n) for n in (100, 140)} == {"long"}
