"""DPG-Bench as a metric: each picture's questions answered by a VQA model, scored as `suites.dpg` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from statistics import fmean
from typing import Any, Literal, cast

from PIL.Image import Image

from benchmarks.metrics.vqa import load_vqa
from benchmarks.records import Score
from benchmarks.suites.dpg import MODES, NAME, DpgQuestion, Mode, picture_points
from benchmarks.suites.dpg_prompts import questions_of
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt

YES_ABOVE = 0.5
# Kind whose reason holds the answers, as `answers_text` writes them, for the benchmark's own tables.
ANSWERS = "answers"


class Dpg:
    """Share of a prompt's questions that the picture answers with yes, after dependencies.

    `pictures` says what an image is: "single", or "grid" for the original's 2 x 2 grid, whose cells are scored one
    by one, row by row. The kind of the headline is the mode, `official` or `fixed`; `answers` is the share before
    dependencies. A P(yes) above 0.5 is a yes: the original's model answers in words.

    Raises UsageError for another protocol or other pictures.
    """

    unit = "0 to 1"
    digits = 4

    def __init__(
        self,
        vqa: str,
        vqa_options: dict[str, Any] | None = None,
        pictures: Literal["single", "grid"] = "single",
        protocol: str = f"{NAME}/fixed",
        device: str | None = None,
    ) -> None:
        name, _, mode = protocol.rpartition("/")
        if name != NAME or mode not in MODES:
            raise UsageError(f"dpg: protocol {protocol!r} is unknown: expected {NAME}/official or {NAME}/fixed")
        if pictures not in ("single", "grid"):
            raise UsageError(f"dpg: pictures = {pictures!r}: expected single or grid")
        self.protocol, self.headline, self.pictures = protocol, mode, pictures
        self.vqa = load_vqa(vqa, vqa_options or {}, device)
        self._asked: dict[str | None, list[DpgQuestion]] = {}  # by spec: a prompt's twin has its id

    def identity(self) -> dict[str, Any]:
        """Mode, the model that answers, the questions, and what an image is."""
        asked = sorted(self._asked.values(), key=lambda own: own[0].prompt_id)
        return {
            "metric": "dpg",
            "version": 1,
            "protocol": self.protocol,
            "vqa": self.vqa.identity(),
            "questions_sha256": sha256(repr(asked).encode()).hexdigest() if asked else None,
            "pictures": self.pictures,
            "yes_above": YES_ABOVE,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt without questions."""
        for prompt in prompts:
            self._questions(prompt)

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """All questions of a cell go to the model together."""
        mode = cast(Mode, self.headline)
        asked = [
            [question for question in self._questions(prompt) if mode == "fixed" or not question.first_row]
            for prompt in prompts
        ]
        cells = [self._cells(image) for image in images]
        shown = [cell for own, questions in zip(cells, asked, strict=True) for cell in own if questions]
        texts = [[q.question for q in questions] for own, questions in zip(cells, asked, strict=True) for _ in own]
        answers = iter(self.vqa.answer_probabilities(shown, [own for own in texts if own]) if shown else [])
        return [
            self._scores(prompt, questions, [next(answers) for _ in own] if questions else [])
            for prompt, questions, own in zip(prompts, asked, cells, strict=True)
        ]

    def _scores(self, prompt: Prompt, questions: Sequence[DpgQuestion], yes: Sequence[Sequence[float]]) -> list[Score]:
        mode = cast(Mode, self.headline)
        if not questions:
            return [Score(mode, None, error_message="its only question is the table's first, which is not asked")]
        if not all(0 <= value <= 1 for cell in yes for value in cell):
            return [Score(mode, None, error_message="the model gave no probability")]
        ids = [question.question_id for question in questions]
        given = [dict(zip(ids, (value > YES_ABOVE for value in cell), strict=True)) for cell in yes]
        try:
            points = [picture_points(self._questions(prompt), cell, mode)[0] for cell in given]
        except UserError as error:
            return [Score(mode, None, error_message=str(error))]
        told = [_told(questions, *triple) for triple in zip(yes, given, points, strict=True)]
        numbered = [f"cell {i}: {text}" for i, text in enumerate(told, 1)] if len(told) > 1 else told
        before = fmean(fmean(map(float, cell.values())) for cell in given)
        return [
            Score(mode, fmean(fmean(cell.values()) for cell in points), " | ".join(numbered)),
            Score(ANSWERS, before, answers_text(given)),
        ]

    def _questions(self, prompt: Prompt) -> list[DpgQuestion]:
        if prompt.spec not in self._asked:
            self._asked[prompt.spec] = questions_of(prompt)
        return self._asked[prompt.spec]

    def _cells(self, image: Image) -> list[Image]:
        if self.pictures == "single":
            return [image]
        width, height = image.width // 2, image.height // 2
        if not width or not height:
            return [image]
        corners = [(x, y) for y in (0, height) for x in (0, width)]
        return [image.crop((x, y, x + width, y + height)) for x, y in corners]


def answers_text(pictures: Sequence[dict[int, bool]]) -> str:
    """ "1y 2n | 1y 2y": what each picture or cell answered, by question id."""
    return " | ".join(" ".join(f"{i}{'y' if yes else 'n'}" for i, yes in cell.items()) for cell in pictures)


def answers_from_text(text: str) -> list[dict[int, bool]]:
    """What `answers_text` wrote."""
    return [{int(word[:-1]): word[-1] == "y" for word in cell.split()} for cell in text.split(" | ")]


def _told(
    questions: Sequence[DpgQuestion], yes: Sequence[float], given: dict[int, bool], points: dict[int, float]
) -> str:
    lines = []
    for question, value in zip(questions, yes, strict=True):
        answer = given[question.question_id]
        zeroed = ", counts 0: what it depends on is a no" if answer > points[question.question_id] else ""
        lines.append(f"{question.question} {'yes' if answer else 'no'} (P(yes) = {value:.3f}){zeroed}")
    return "; ".join(lines)
