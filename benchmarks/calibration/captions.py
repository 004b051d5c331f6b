"""A metric by captions: what a vision-language model tells of a drawn scene, held against what the prompt states."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from PIL.Image import Image

from benchmarks.metrics.metric import distinct
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion, model_fingerprint
from llm4gen_data.recaption.captioners.transformers_model import TransformersCaptioner
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.facts import Facts, caption_facts, compare, facts_from_json


class CaptionFacts:
    """The share of the facts a prompt states that the model's caption of the picture states as well.

    The facts are those of `scene_reader`, the number of objects and the background among them, but read from a
    caption: `model`, a bundled one, a folder or a hub id, is asked for one in the paper's words and generates
    greedily. Only for captions in the words of drawn scenes. Raises UserError for a prompt that states no scene.
    """

    headline, unit, digits = "overall", "share of the asked facts", 3

    def __init__(self, model: str = "vlm-mini", revision: str | None = None) -> None:
        self.settings = CaptionerSettings(model, revision)

    def identity(self) -> dict[str, Any]:
        """The model's weights, and what it was asked."""
        return {
            "metric": "caption_facts",
            "version": 1,
            **model_fingerprint(self.settings.model, self.settings.revision),
            "instruction": INSTRUCTIONS["paper"].text,
            "max_tokens": self.settings.sampling.max_tokens,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt whose spec does not tell the facts of a scene."""
        for prompt in prompts:
            _asked(prompt)

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, its reason the caption; each picture is captioned once."""
        shown, places = distinct(images)
        requests = [CaptionRequest(image, INSTRUCTIONS["paper"].text) for image in shown]
        told = asyncio.run(self._captioner.caption(requests))
        return [[self._score(_asked(prompt), told[place])] for place, prompt in zip(places, prompts, strict=True)]

    def _score(self, asked: Facts, told: Completion) -> Score:
        if told.error is not None:
            return Score(self.headline, None, error_message=told.error)
        claimed = caption_facts(told.text)
        counts = compare(asked, claimed).values()
        held = [len(claimed.objects) == len(asked.objects)]
        if asked.background is not None:
            held.append(claimed.background == asked.background)
        n_right = sum(count.true_positive for count in counts) + sum(held)
        n_asked = sum(count.true_positive + count.false_positive for count in counts) + len(held)
        return Score(self.headline, n_right / n_asked, told.text)

    @cached_property
    def _captioner(self) -> TransformersCaptioner:
        return TransformersCaptioner(self.settings)


def _asked(prompt: Prompt) -> Facts:
    if prompt.spec is None:
        raise UserError(f"caption_facts: prompt {prompt.prompt_id!r} has no spec to hold a caption against")
    return facts_from_json(prompt.spec)
