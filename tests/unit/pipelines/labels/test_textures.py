import numpy as np
import pytest

from llm4gen_data.scenes.patterns import WEIGHTS
from llm4gen_data.scenes.vocabulary import TEXTURES
from pipelines.labels.textures import Example, Shares, drawn_examples, fitted_weights, shares


def toy_examples(n: int, noise: float) -> list[Example]:
    """Evidence that is 1 in the column of its texture, and the constant."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(n):
        texture = number % len(TEXTURES)
        evidence = np.array([rng.normal(scale=noise) for _ in range(WEIGHTS.shape[1])], dtype=np.float32)
        evidence[texture] += 1
        evidence[-1] = 1
        found.append(Example(evidence, TEXTURES[texture]))
    return found


def test_weights_are_learned_that_tell_textures_apart() -> None:
    examples = toy_examples(203, noise=0.15)
    weights = fitted_weights(examples)
    assert weights.shape == WEIGHTS.shape
    assert weights.sum(axis=0) == pytest.approx(0, abs=1e-3)  # what all have in common decides nothing
    assert shares(weights, examples).right > 0.97


def test_what_no_weights_tell_apart_is_untold() -> None:
    examples = toy_examples(10, noise=0.0)
    assert shares(np.zeros_like(WEIGHTS), examples) == Shares(right=0.0, wrong=0.0, untold=1.0)
    wrong = np.roll(np.eye(*WEIGHTS.shape, dtype=np.float32), 1, axis=0)
    assert shares(wrong, examples) == Shares(right=0.0, wrong=1.0, untold=0.0)


def test_the_reader_tells_the_textures_of_drawn_scenes_by_its_weights() -> None:
    examples = drawn_examples(9)
    assert len(examples) >= 15
    assert {example.evidence.shape for example in examples} == {(WEIGHTS.shape[1],)}
    assert shares(WEIGHTS, examples).right > 0.8
