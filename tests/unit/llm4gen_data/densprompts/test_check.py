"""Every check refuses what it should: sound texts pass, and each mutation of them is caught."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm4gen_data.densprompts.build import fit
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.language import check_language
from llm4gen_data.densprompts.sample import sample_spec, target_words
from llm4gen_data.densprompts.spec import Entity, Relation, Spec
from llm4gen_data.densprompts.taxonomy import QUOTAS, skills_of
from llm4gen_data.densprompts.writers.grammar import write

SLOTS = [(category, skill) for category in QUOTAS for skill in skills_of(category)]

SPEC = Spec(
    category="interiors",
    skill="color",
    length="short",
    setting="in a narrow hallway",
    place_noun="hallway",
    entities=(
        Entity("dog", 1, "it", look="shaggy", color="brown", posture="lie", action="wag its tail"),
        Entity("vase", 1, "it", color="blue", material="glass", posture="stand"),
        Entity("candle", 3, "they", size="small", color="red", posture="stand", place="on the windowsill"),
    ),
    relations=(Relation(1, "left of", 0), Relation(0, "looking at", 1)),
    details=("dust floats in the air",),
    light="soft morning light",
    style="an oil painting",
)
TEXT = (
    "In a narrow hallway lies a shaggy brown dog. It wags its tail. To its left stands a blue glass vase. "
    "Three small red candles stand on the windowsill. The dog looks at the vase. Dust floats in the air. "
    "Soft morning light falls across the scene. The picture is an oil painting."
)


def reasons(text: str, spec: Spec = SPEC) -> set[str]:
    return {problem.reason for problem in check(text, spec)}


def test_a_sound_text_passes() -> None:
    assert check(TEXT, SPEC) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Three small red candles stand", "Three small red lamps stand", "entity"),
        ("brown dog", "black dog", "attribute"),
        ("glass vase", "vase", "attribute"),
        ("small red candles", "red candles", "attribute"),
        ("Three small", "Four small", "count"),
        ("Three small red candles stand", "Small red candles, three or so, stand", "count"),
        ("wags its tail", "lies still", "action"),
        ("on the windowsill", "on the floor", "place"),
        ("To its left", "To its right", "relation"),
        ("looks at the vase", "looks at the candles", "relation"),
        ("Dust floats", "Smoke floats", "scene"),
        ("Soft morning light", "Cold light", "scene"),
        ("an oil painting", "a watercolor", "scene"),
        ("narrow hallway", "wide hallway", "scene"),
        ("lies a shaggy", "lies an shaggy", "article"),
        ("an oil", "a oil", "article"),
        ("stands a blue", "stands a a blue", "doubled word"),
        ("It wags", "it wags", "capital"),
        ("painting.", "painting", "stop"),
        ("dog. It", "dog . It", "punctuation"),
        ("It wags", "I see that it wags", "first person"),
        ("In a narrow", "- In a narrow", "list"),
        (TEXT[TEXT.index("Dust") :], "", "length"),
    ],
)
def test_every_mutation_is_caught(old: str, new: str, reason: str) -> None:
    assert TEXT.count(old) == 1
    assert reason in reasons(TEXT.replace(old, new))


def test_swapped_colors_are_caught() -> None:
    swapped = TEXT.replace("brown", "BLUE").replace("blue", "brown").replace("BLUE", "blue")
    assert "attribute" in reasons(swapped)
    # Also side by side in one sentence.
    spec = replace(SPEC, entities=SPEC.entities[:2], relations=SPEC.relations[:1])
    text = "In a narrow hallway, a blue dog lies, with a brown glass vase to its left."
    assert [p.what for p in check(text, spec) if p.reason == "attribute"] == ["shaggy dog", "brown dog", "blue vase"]


def test_a_pronoun_carries_an_attribute_to_the_thing_before() -> None:
    text = TEXT.replace("a blue glass vase.", "a vase. It is made of blue glass.")
    assert check(text, SPEC) == []
    moved = TEXT.replace("a blue glass vase.", "a glass vase.").replace("windowsill.", "windowsill. It is blue.")
    assert "attribute" in reasons(moved)


def test_words_may_be_doubled_across_a_comma() -> None:
    assert check_language("Beside it, it is dark. What he had had was gone.") == []


def test_length_must_be_in_the_bucket() -> None:
    assert reasons(TEXT, replace(SPEC, length="medium")) == {"length"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SLOTS))
def test_any_seed_gives_texts_that_pass(seed: int, slot: tuple[str, str]) -> None:
    rng = random.Random(seed)
    for _ in range(10):  # now and then a specification is too large for its length, and another is drawn
        n_words = target_words(rng)
        written = fit(sample_spec(*slot, n_words, rng), n_words, Counter())
        if written is not None:
            break
    assume(written is not None)
    assert written is not None
    spec, fitting = written
    assert check(fitting.text, spec) == []
    assert 40 <= len(fitting.text.split()) <= 140


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SLOTS))
def test_nearly_all_faults_of_the_writer_are_of_length(seed: int, slot: tuple[str, str]) -> None:
    rng = random.Random(seed)
    spec = sample_spec(*slot, target_words(rng), rng)
    problems = [[p for p in check(write(spec, attempt), spec) if p.reason != "length"] for attempt in range(4)]
    assert any(not found for found in problems), problems


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SLOTS))
def test_a_text_of_another_spec_is_refused(seed: int, slot: tuple[str, str]) -> None:
    rng = random.Random(seed)
    spec, other = (sample_spec(*slot, 80, rng) for _ in range(2))
    assume({e.noun for e in spec.entities} != {e.noun for e in other.entities})
    assert {"entity"} <= {problem.reason for problem in check(write(spec), replace(other, length=spec.length))}
