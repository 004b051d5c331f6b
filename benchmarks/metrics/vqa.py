"""What a model that answers questions about pictures is to the metrics, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    from PIL.Image import Image

VQAS: dict[str, str] = {}


class Vqa(Protocol):
    """Answers questions; made from its options as keywords. Weights are loaded by the first question."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes an answer: weights, template, preprocessing, dtype."""
        ...

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        """For each RGB image and each question about it P(first answer) / (P(first) + P(second)), 0 to 1."""
        ...


def load_vqa(name: str, options: Mapping[str, Any]) -> Vqa:
    """The model `name`, an entry of VQAS or a `module:attribute`. Raises UsageError for an unknown name."""
    vqa: Vqa = resolve("VQA model", name, VQAS)(**options)
    return vqa
