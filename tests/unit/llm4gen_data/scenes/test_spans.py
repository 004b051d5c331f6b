import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.scenes.alt_text import alt_text
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.parse import read_caption
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.spans import entity_spans


def words(text: str) -> list[tuple[str, str]]:
    return [(text[slice(*entity)], text[slice(*attribute)]) for entity, attribute in entity_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a small red circle and a blue square", [("circle", "small"), ("circle", "red"), ("square", "blue")]),
        ("A Star.  The star\nis GREEN. It has dark stripes.", [("Star", "GREEN"), ("Star", "stripes")]),
        ("Red has been chosen for the square.", [("square", "Red")]),
        (
            "There is a disc and a star. The former is azure; the latter is large.",
            [("disc", "azure"), ("star", "large")],
        ),
        ("a disc on a gray background", []),
        ("a man in a coat", []),
        ("", []),
        ("a red disc, İ", []),
    ],
)
def test_words_are_found_where_they_stand(text: str, expected: list[tuple[str, str]]) -> None:
    assert words(text) == expected


def test_the_same_is_read_as_without_places() -> None:
    """Everything that the reader finds, and nothing else, in captions of all lengths."""
    for seed in range(40):
        scene, rng = sample_scene(seed, split="train"), random.Random(seed)
        texts = [short_caption(scene, rng), medium_caption(scene, rng), alt_text(scene, rng)]
        texts += [dense_caption(scene, rng), dense_caption(scene, rng, held_out_synonyms=True)]
        for text in texts:
            named = [unit for unit in read_caption(text).units if unit.shape is not None]
            assert len(entity_spans(text)) == sum(len(unit.attributes) for unit in named), text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from("a red circle, the blue star. is it left of\nİ_!ß "), max_size=60))
def test_spans_lie_in_the_text(text: str) -> None:
    for entity, attribute in entity_spans(text):
        for start, end in (entity, attribute):
            assert 0 <= start < end <= len(text)
            assert text[start:end].strip() == text[start:end]
