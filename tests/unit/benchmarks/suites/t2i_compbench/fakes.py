"""Back ends that see what a test tells them to see: a picture's top left pixel names the answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.metrics.detection import Detection
from benchmarks.suites.t2i_compbench.linguistics import Facts
from llm4gen_data.records import Prompt


class FakeVqa:
    """P(yes) = red of the picture / 200 for the first question, and 0.9 of it for each further one."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.asked: list[list[str]] = []

    def identity(self) -> dict[str, Any]:
        return {"model": self.name}

    def answer_probabilities(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[Sequence[str]],
        answers: tuple[str, str] = ("yes", "no"),
    ) -> list[list[float]]:
        self.asked += [list(own) for own in questions]
        assert all(questions)
        return [
            [red(image) / 200 * 0.9**i for i in range(len(own))] for image, own in zip(images, questions, strict=True)
        ]


class FakeDetector:
    """A cat on the left and a dog on the right; of a picture without red, nothing."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sizes: list[tuple[int, int]] = []

    def identity(self) -> dict[str, Any]:
        return {"model": "fake", "comparable_with_unidet": False}

    def detect(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        self.sizes += [image.size for image in images]
        assert len(images) == len(words)
        seen = [Detection("dog", (300, 100, 400, 200), 0.8), Detection("cat", (10, 100, 110, 200), 0.9)]
        return [seen if red(image) else [] for image in images]


class FakeDepth:
    """Nearer to the left."""

    def identity(self) -> dict[str, Any]:
        return {"model": "fake"}

    def estimate(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        return [np.tile(np.linspace(1, 0, image.width), (image.height, 1)) for image in images]


def red(image: Image.Image) -> int:
    return int(np.asarray(image)[0, 0, 0])


def plain(value: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, (value, 10, 10))


def prompt(category: str, index: int, words: str, **facts: Any) -> Prompt:
    spec = Facts(category, index, "spaCy 3.8, model 3.8", **facts).to_spec()
    return Prompt(f"{category}-{index:03d}", words, category, len(words.split()), spec)
