"""A metric of a user's own, given as module:attribute: how bright a picture is."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from benchmarks.records import Score
from llm4gen_data.records import Prompt


class Brightness:
    headline, unit, digits = "mean", "share of white", 3

    def identity(self) -> dict[str, Any]:
        return {"metric": "brightness", "version": 1}

    def check(self, prompts: Iterable[Prompt]) -> None:
        assert list(prompts)

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [[Score("mean", float(np.asarray(image).mean()) / 255, "as bright as it is")] for image in images]


class NotANumber(Brightness):
    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [[Score("mean", float("nan"))] for _ in images]


class Glutton(Brightness):
    """Wants more memory than a GPU has."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 80.00 GiB")


class Killer(Brightness):
    """Takes its process with it, as a lack of memory does."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        os._exit(9)
