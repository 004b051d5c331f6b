"""A model that weighs answers by a table, under the names of the protocols in `benchmarks.metrics.vqa`."""

from collections.abc import Sequence
from typing import Any

from PIL.Image import Image


class Weigher:
    """Only weighs two answers, as BLIP-VQA does."""

    def __init__(self, yes: float = 0.5) -> None:
        self.yes = yes

    def identity(self) -> dict[str, Any]:
        return {"vqa": "fake", "yes": self.yes}

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        return [[self.yes for _ in own] for own in questions]


class Speaker(Weigher):
    """Also says how likely an answer is: the more letters it has, the likelier."""

    default_template = "vlm"

    def answer_likelihoods(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: Sequence[str]
    ) -> list[list[float]]:
        return [[self.yes * sum(map(len, answers)) / 100 for _ in own] for own in questions]
