"""What a model that answers questions about pictures is to the metrics, and the table of them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from benchmarks.metrics.metric import distinct
from llm4gen_data.errors import UsageError
from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    from PIL.Image import Image

VQAS = {
    "blip_vqa": "benchmarks.metrics.blip_vqa:BlipVqa",
    "clip_flant5": "benchmarks.metrics.clip_flant5:ClipFlanT5",
    "transformers": "benchmarks.metrics.vlm_vqa:VlmVqa",
    "vllm": "benchmarks.metrics.vllm_vqa:VllmVqa",
}
DTYPES = ("float32", "bfloat16", "float16")


class Vqa(Protocol):
    """Answers questions; made from its options as keywords. Weights are loaded by the first question."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes an answer: weights, template, preprocessing, dtype."""
        ...

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        """For each RGB image and each question about it P(first answer) / (P(first) + P(second)), 0 to 1.

        NaN for a question that is longer than the model can read.
        """
        ...


@runtime_checkable
class AnswerLikelihood(Vqa, Protocol):
    """A model that also says how likely an answer is among all that could be said, as VQAScore needs it."""

    default_template: str

    def answer_likelihoods(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: Sequence[str]
    ) -> list[list[float]]:
        """For each RGB image and each question, asked word for word, the sum of P(answer) over `answers`, 0 to 1."""
        ...


def ask_by_picture(
    ask: Callable[[Sequence[Image], Sequence[Sequence[str]]], list[list[float]]],
    images: Sequence[Image],
    questions: Sequence[Sequence[str]],
) -> list[list[float]]:
    """The answers to the questions about each image; a picture that comes several times is shown to the model once."""
    shown, places = distinct(images)
    asked: list[list[str]] = [[] for _ in shown]
    spans = []
    for place, own in zip(places, questions, strict=True):
        spans.append((place, slice(len(asked[place]), len(asked[place]) + len(own))))
        asked[place] += own
    found = ask(shown, asked)
    return [found[place][span] for place, span in spans]


def load_vqa(name: str, options: Mapping[str, Any], device: str | None = None) -> Vqa:
    """The model `name`, an entry of VQAS (one in memory for all metrics that ask the same) or a `module:attribute`.

    `device` is for models that have such an option and are not told another in `options`. Raises UsageError for an
    unknown name and for options that the model does not have.
    """
    return (
        _shared(name, json.dumps(dict(options), sort_keys=True), device)
        if name in VQAS
        else _made(name, options, device)
    )


@lru_cache(maxsize=2)
def _shared(name: str, options: str, device: str | None) -> Vqa:
    return _made(name, json.loads(options), device)


def _made(name: str, options: Mapping[str, Any], device: str | None) -> Vqa:
    make, values = resolve("VQA model", name, VQAS), dict(options)
    parameters = inspect.signature(make).parameters
    if device is not None and "device" in parameters:
        values.setdefault("device", device)
    try:
        inspect.signature(make).bind(**values)
    except TypeError as error:
        known = ", ".join(parameters)
        raise UsageError(f"VQA model {name!r}: {error}; expected options among {known}") from error
    if "dtype" in values and values["dtype"] not in (*DTYPES, parameters["dtype"].default):
        raise UsageError(f"VQA model {name!r}: dtype {values['dtype']!r}: expected one of {', '.join(DTYPES)}")
    vqa: Vqa = make(**values)
    return vqa
