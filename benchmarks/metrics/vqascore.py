"""VQAScore (Lin et al., ECCV 2024): how likely a model says "Yes" when asked whether a picture shows its prompt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.vqa import AnswerLikelihood, ask_by_picture, load_vqa
from benchmarks.records import Score
from llm4gen_data.errors import UsageError
from llm4gen_data.records import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

SLOT = "{}"


@dataclass(frozen=True, slots=True)
class Template:
    """How a prompt becomes a question, and the answers whose probabilities are summed."""

    question: str
    answers: tuple[str, ...] = ("Yes",)


TEMPLATES = {
    # the paper's, for CLIP-FlanT5
    "clip-flant5": Template('Does this figure show "{}"? Please answer yes or no.'),
    # t2v_metrics 3.1 to Qwen and its like; 3.0 asked them the second
    "vlm": Template('Does this figure show "{}"? Please answer Yes or No.'),
    "t2v-metrics-3.0": Template('Does this image show "{}"?'),
    "geneval2": Template(
        'Does this image show "{}"? Answer the question with Yes or No.', ("Yes", "yes", " Yes", " yes")
    ),
    # in the wording that the bundled model was trained on
    "vlm-mini": Template("Is there {} in the picture? Answer yes or no."),
}


class VqaScore:
    """P("Yes") among all that the model could say, not weighed against "No"; scores of two templates do not compare.

    `vqa` is a name in the table of `metrics.vqa`; `template` a name in TEMPLATES or a question with `{}` where the
    prompt goes ("auto": what suits the model). Raises UsageError for a template without `{}` and for a model that only
    weighs two answers against each other.
    """

    headline = "p_yes"
    unit = 'P("Yes")'
    digits = 4

    def __init__(
        self,
        vqa: str = "transformers",
        vqa_options: Mapping[str, Any] | None = None,
        template: str = "auto",
        device: str | None = None,
    ) -> None:
        model = load_vqa(vqa, vqa_options or {}, device)
        if not isinstance(model, AnswerLikelihood):
            raise UsageError(f"vqascore.vqa = {vqa!r}: this model weighs two answers; VQAScore needs P of one answer")
        self.vqa = model
        name = model.default_template if template == "auto" else template
        self.template = TEMPLATES.get(name, Template(name))
        if self.template.question.count(SLOT) != 1:
            known = ", ".join(TEMPLATES)
            raise UsageError(
                f"vqascore.template = {template!r}: expected one of {known}, or a question with one {SLOT}"
            )

    def identity(self) -> dict[str, Any]:
        """The model, the question and the answers that count."""
        return {
            "metric": "vqascore",
            "version": 1,
            "template": self.template.question,
            "answers": list(self.template.answers),
            "vqa": self.vqa.identity(),
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text can be asked for."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, of the kind `p_yes`; the reason is the question as it was put."""
        questions = [self._question(prompt) for prompt in prompts]
        found = ask_by_picture(
            lambda shown, asked: self.vqa.answer_likelihoods(shown, asked, self.template.answers),
            images,
            [[question] for question in questions],
        )
        return [[self._score(question, value)] for question, [value] in zip(questions, found, strict=True)]

    def _score(self, question: str, value: float) -> Score:
        if math.isnan(value):
            told = f"the question, of {len(question)} characters, is longer than the model can read"
            return Score(self.headline, None, error_message=told)
        told = " + ".join(f"P({answer!r})" for answer in self.template.answers)
        return Score(self.headline, value, f"{told} = {value:.4f} to: {question}")

    def _question(self, prompt: Prompt) -> str:
        return self.template.question.replace(SLOT, prompt.prompt)
