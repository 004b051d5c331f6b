"""Alignment by questions: a model that sees the picture is asked for each part of what the prompt says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL.Image import Image

from benchmarks.metrics.questions import Answered, AskedQuestion, answered, questions_of, read_questions, reason_of
from benchmarks.metrics.vqa import load_vqa
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


class Dsg:
    """Share of a prompt's questions that are answered rightly, after Cho et al., ICLR 2024 (Davidsonian scene graph).

    Kinds: `with_dependency` (a right answer counts only if those it depends on are right too), `without_dependency`,
    `probability` (arithmetic mean of the probabilities of the right answers), `geometric_mean` (of the same), and
    `with_dependency` again for the questions of each category ("color", ...). `questions` is a file of questions;
    without it they are those in, or behind, each prompt's spec.
    """

    headline = "with_dependency"
    unit = "share of questions"
    digits = 4

    def __init__(
        self,
        vqa: str,
        vqa_options: Mapping[str, Any] | None = None,
        questions: str | None = None,
        device: str | None = None,
    ) -> None:
        self.vqa = load_vqa(vqa, vqa_options or {}, device)
        self.file = questions
        self._of_file = {} if questions is None else read_questions(Path(questions))
        self._of_spec: dict[str | None, list[AskedQuestion]] = {}  # by spec: a prompt's twin has its id
        self._digests: dict[str, str] = {}

    def identity(self) -> dict[str, Any]:
        """The model that answers, and which questions it was asked."""
        asked = "\n".join(digest for _, digest in sorted(self._digests.items()))
        return {
            "metric": "dsg",
            "version": 1,
            "vqa": self.vqa.identity(),
            "questions_sha256": sha256(asked.encode()).hexdigest() if asked else None,
            "right_above": 0.5,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt without questions."""
        for prompt in prompts:
            questions = self._questions(prompt)
            self._digests[prompt.prompt_id] = sha256(repr(questions).encode()).hexdigest()

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """All questions of an image go to the model together."""
        asked = [self._questions(prompt) for prompt in prompts]
        claiming = [i for i, own in enumerate(asked) if own]  # a scene without anything in it claims nothing
        texts = [[question.question for question in asked[i]] for i in claiming]
        yes = self.vqa.answer_probabilities([images[i] for i in claiming], texts) if claiming else []
        found = {i: _scores(asked[i], own) for i, own in zip(claiming, yes, strict=True)}
        return [found.get(i, []) for i in range(len(prompts))]

    def _questions(self, prompt: Prompt) -> list[AskedQuestion]:
        if self.file is not None:
            if prompt.prompt_id not in self._of_file:
                raise UserError(f"{self.file}: no questions of prompt {prompt.prompt_id!r}")
            return self._of_file[prompt.prompt_id]
        if prompt.spec not in self._of_spec:
            self._of_spec[prompt.spec] = questions_of(prompt)
        return self._of_spec[prompt.spec]


def _scores(questions: Sequence[AskedQuestion], yes: Sequence[float]) -> list[Score]:
    unknown = [q.question for q, value in zip(questions, yes, strict=True) if not 0 <= value <= 1]
    if unknown:  # also what is no number
        return [Score(Dsg.headline, None, error_message=f"the model gave no probability for {unknown[0]!r}")]
    answers = answered(questions, yes)
    probabilities = [own.probability for own in answers]
    scores = [
        Score(Dsg.headline, _share(own.counts for own in answers), reason_of(answers)),
        Score("without_dependency", _share(own.right for own in answers)),
        Score("probability", sum(probabilities) / len(probabilities)),
        Score("geometric_mean", _geometric_mean(probabilities)),
    ]
    categories: dict[str, list[Answered]] = {}
    for own in answers:
        categories.setdefault(own.question.category, []).append(own)
    return scores + [
        Score(category, _share(own.counts for own in group)) for category, group in sorted(categories.items())
    ]


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found)


def _geometric_mean(values: Sequence[float]) -> float:
    if min(values) <= 0:
        return 0.0
    return math.exp(sum(map(math.log, values)) / len(values))
