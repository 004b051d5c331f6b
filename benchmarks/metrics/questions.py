"""Questions about a prompt's picture with what they depend on, where they come from, and what their answers are worth.

In the manner of Davidsonian scene graphs: who answers that there is no dog cannot be believed on the dog's colour.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

KEY = "questions"  # in `Prompt.spec`
YES_ABOVE = 0.5  # a probability of exactly this is no


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """`answer` is what a right picture answers, "yes" or "no"; `category` groups questions; `parent_ids` are others
    of the same prompt that must be right for this one to count."""

    question_id: str
    question: str
    answer: str
    category: str
    parent_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the probability of its right answer, and the first parent that makes it count nothing."""

    question: AskedQuestion
    probability: float
    zeroed_by: str | None

    @property
    def right(self) -> bool:
        """Whether the answer is right, whatever it depends on."""
        return self.probability > YES_ABOVE

    @property
    def counts(self) -> bool:
        """Whether the answer is right, and so are those it depends on."""
        return self.right and self.zeroed_by is None


def answered(questions: Sequence[AskedQuestion], yes: Sequence[float]) -> list[Answered]:
    """The questions of one prompt with P(yes) of each; what depends on a wrong or zeroed answer is zeroed.

    Raises UserError for a parent that is not among them, or questions that depend on each other in a circle.
    """
    probabilities = {
        question.question_id: value if question.answer == "yes" else 1 - value
        for question, value in zip(questions, yes, strict=True)
    }
    found: dict[str, Answered] = {}
    for question in in_order(questions):
        failed = (parent for parent in question.parent_ids if not found[parent].counts)
        found[question.question_id] = Answered(question, probabilities[question.question_id], next(failed, None))
    return [found[question.question_id] for question in questions]


def in_order(questions: Sequence[AskedQuestion]) -> list[AskedQuestion]:
    """Parents before children. Raises UserError as `answered` does."""
    by_id = {question.question_id: question for question in questions}
    if len(by_id) < len(questions):
        raise UserError(f"{questions[0].question!r} and others: two questions of a prompt have the same id")
    for question in questions:
        for parent in question.parent_ids:
            if parent not in by_id:
                raise UserError(
                    f"question {question.question!r} depends on {parent!r}, which its prompt does not have"
                )
    placed: dict[str, AskedQuestion] = {}
    while len(placed) < len(questions):
        ready = [
            question
            for question in questions
            if question.question_id not in placed and all(parent in placed for parent in question.parent_ids)
        ]
        if not ready:
            stuck = next(question for question in questions if question.question_id not in placed)
            raise UserError(f"question {stuck.question!r} depends on itself through others")
        placed |= {question.question_id: question for question in ready}
    return list(placed.values())


def reason_of(answers: Sequence[Answered]) -> str:
    """Each question, what was answered and, where it counts nothing, because of which."""
    texts = {own.question.question_id: own.question.question for own in answers}
    return "; ".join(_told(own, texts) for own in answers)


def _told(own: Answered, texts: Mapping[str, str]) -> str:
    expected = own.question.answer
    other = "no" if expected == "yes" else "yes"
    told = f"{own.question.question} {expected if own.right else other} (P({expected}) = {own.probability:.3f})"
    return told if own.zeroed_by is None else f"{told}, counts 0: {texts[own.zeroed_by]} was answered wrongly"


def to_spec(questions: Iterable[AskedQuestion], **more: Any) -> str:
    """As JSON for `Prompt.spec`."""
    return json.dumps({KEY: [asdict(question) for question in questions], **more}, ensure_ascii=False)


def questions_of(prompt: Prompt) -> list[AskedQuestion]:
    """The questions in a prompt's spec, or those that follow from it if it is one of DensePrompts or of a scene.

    Raises UserError if there are none.
    """
    try:
        spec = json.loads(prompt.spec or "null")
    except ValueError:
        spec = None
    if isinstance(spec, dict) and KEY in spec:
        return _from_rows(spec[KEY], f"prompt {prompt.prompt_id!r}")
    if isinstance(spec, dict) and "entities" in spec:
        return _of_dense_prompt(prompt)
    if isinstance(spec, dict) and "objects" in spec:
        from benchmarks.metrics.scene_questions import scene_questions
        from llm4gen_data.scenes.facts import facts_from_json

        return scene_questions(facts_from_json(prompt.spec or ""))
    raise UserError(
        f"prompt {prompt.prompt_id!r} has no questions in its spec; --set dsg.questions=questions.parquet names a "
        "file of them, with the columns prompt_id, question_id, question, answer, parent_ids, skill"
    )


def read_questions(path: Path) -> dict[str, list[AskedQuestion]]:
    """Questions by prompt id from `questions.parquet` of build-densprompts, or another file with its columns.

    Raises UserError for a file without the columns, or with questions that do not fit together.
    """
    from llm4gen_data.parquet import open_parquet

    file = open_parquet(path)
    names = file.schema_arrow.names
    columns = ("prompt_id", "question_id", "question", "answer", "parent_ids", "skill")
    absent = [name for name in columns if name not in names]
    if absent:
        raise UserError(f"{path}: no column {', '.join(absent)}; expected questions as build-densprompts writes them")
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in file.read(columns=list(columns)).to_pylist():
        row["category"] = row.pop("skill")
        rows[row.pop("prompt_id")].append(row)
    return {prompt_id: _from_rows(own, f"{path}, prompt {prompt_id!r}") for prompt_id, own in rows.items()}


def _of_dense_prompt(prompt: Prompt) -> list[AskedQuestion]:
    from llm4gen_data.densprompts.questions import questions
    from llm4gen_data.densprompts.spec import spec_from_json

    try:
        own = questions(spec_from_json(prompt.spec or ""))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"prompt {prompt.prompt_id!r}: its spec is not one of DensePrompts: {error}") from error
    return [AskedQuestion(q.question_id, q.question, q.answer, q.skill, q.parent_ids) for q in own]


def _from_rows(rows: Any, where: str) -> list[AskedQuestion]:
    try:
        questions = [
            AskedQuestion(**{**row, "question_id": str(row["question_id"]), "parent_ids": tuple(row["parent_ids"])})
            for row in rows
        ]
        if not questions:
            raise ValueError("none")
        for question in questions:
            if question.answer not in ("yes", "no") or not question.question.strip():
                raise ValueError(f"{question.question!r}: expected a text, and an answer yes or no")
        in_order(questions)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: its questions cannot be read: {error}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return questions
