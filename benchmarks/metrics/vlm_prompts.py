"""Questions and answers as a vision-language model reads and says them: chat text, and the token of each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import DEFAULT_MODEL
from llm4gen_data.recaption.captioners.prompts import adds_special_tokens, chat_prompt
from llm4gen_data.recaption.instructions import QUESTION_SUFFIX


class AnswerTokens:
    """Chat texts of a transformers processor, and the single tokens that a model could begin its answer with."""

    def __init__(self, processor: Any, chat_format: str | None) -> None:
        self.processor, self.tokenizer, self.chat_format = processor, processor.tokenizer, chat_format
        added = self.tokenizer.added_tokens_decoder.values()
        marks = {token.content for token in added if token.special} | {getattr(processor, "image_token", None) or ""}
        self._marks = sorted(marks - {""}, key=len, reverse=True)
        self.adds_special_tokens = adds_special_tokens(processor, self.prompt(""))

    def prompt(self, question: str) -> str:
        """The chat with one image and the question, up to where the answer starts.

        The model's own marks, such as `<image>`, are taken out of the question: a prompt must not write a turn.
        """
        while found := [mark for mark in self._marks if mark in question]:
            question = question.replace(found[0], "")
        return chat_prompt(self.processor, self.chat_format, question)

    def ids(self, prompt: str) -> list[int]:
        """Token ids of a chat text, its image still one token."""
        found: list[int] = self.tokenizer(prompt, add_special_tokens=self.adds_special_tokens)["input_ids"]
        return found

    def either(self, answers: Sequence[str]) -> tuple[list[int], list[int]]:
        """Token ids of two answers, each in all its spellings. Raises UserError if one of them is no single token."""
        first, second = (self.of([answer, answer.capitalize()]) for answer in answers)
        if set(first) & set(second):
            raise UserError(f"answers {answers[0]!r} and {answers[1]!r}: expected answers that begin differently")
        return first, second

    def of(self, answers: Sequence[str]) -> list[int]:
        """The ids of those `answers` that are a single token here. Raises UserError if none is."""
        prompt = self.prompt("")
        start = self.ids(prompt)
        # what follows a word of the chat format is set off by a space, what follows a line break is not
        space = "" if prompt[-1:].isspace() else " "
        found = []
        for answer in dict.fromkeys(answers):
            whole = self.ids(f"{prompt}{space}{answer.lstrip() if space else answer}")
            tokens = whole[len(start) :] if whole[: len(start)] == start else []
            if len(tokens) == 1:
                found += tokens
        if not found:
            raise UserError(
                f"no answer of {', '.join(map(repr, answers))} is a single token of this model's vocabulary"
            )
        return list(dict.fromkeys(found))


def default_template(model: str) -> str:
    """Which of VQAScore's templates suits a model: the bundled one knows the words of its own questions only."""
    return DEFAULT_MODEL if model == DEFAULT_MODEL else "vlm"


def yes_or_no(question: str) -> str:
    """A question with the request for one word, in the wording that vlm-mini was trained on."""
    return question + QUESTION_SUFFIX
