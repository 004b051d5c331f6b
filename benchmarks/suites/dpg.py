"""DPG-Bench (ELLA, 2024): dense prompts, the questions that came with them, and how answers become scores.

`official` is the published procedure with its faults, `fixed` the same with the faults mended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.errors import UsageError, UserError

Mode = Literal["official", "fixed"]
MODES = ("official", "fixed")
NAME = "dpg-bench"
N_PROMPTS = 1065
NO_PARENT = 0

# What was answered about one picture: question id (a number, or its text as JSON has it) -> "yes", "no", any other
# text, or True / False; or these answers in the order of the prompt's questions. None, or left out: no answer.
Answers = Mapping[Any, Any] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class DpgQuestion:
    """A row of the questions' table.

    `category` is the text of its tuple before the bracket, such as "attribute - color". `first_row`: the original
    never asks the first question of its table.
    """

    prompt_id: str
    question_id: int
    question: str
    category: str
    parent_ids: tuple[int, ...] = ()
    first_row: bool = False

    @property
    def broad_category(self) -> str:
        """The category before its dash: "attribute"."""
        return self.category.partition("-")[0].strip()


@dataclass(frozen=True, slots=True)
class DpgScores:
    """Means from 0 to 1; None where nothing was scored.

    `per_prompt` is over a prompt's pictures; `overall` over the prompts; categories over the single questions, by
    level 2 (`per_category`) and level 1 (`per_broad_category`). `problems` tells of what was left out, never as 0.
    """

    overall: float | None
    per_category: dict[str, float]
    per_broad_category: dict[str, float]
    per_prompt: dict[str, float]
    n_prompts: int
    problems: tuple[str, ...] = field(default=())


def aggregate(
    questions: Iterable[DpgQuestion | Mapping[str, Any]],
    answers: Mapping[Any, Sequence[Answers]],
    images_per_prompt: int = 4,
    *,
    protocol: Mode = "fixed",
) -> DpgScores:
    """DPG-Bench's scores from what was answered about each picture.

    `questions` are `DpgQuestion`s or rows with the columns of the original table (`item_id`, `proposition_id`,
    `dependency`, `tuple`, `question_natural_language`), in its order. `answers` holds for each prompt id its pictures
    (the cells of its grid row by row), each a mapping of question id to answer, or the answers in the order of the
    prompt's questions; only "yes" (or True) is right.

    `official`: the first row of the table is not asked; parents are looked up in the order of the table; categories
    are those of the **last** picture alone, before dependencies; whatever fails drops the whole prompt (without a
    word there; `problems` has them here). `fixed`: every question, all pictures, parents first, categories after
    dependencies like everything else, and a picture without all answers is left out alone.

    Raises UsageError for another protocol, UserError for questions that cannot be read, answers of an unknown prompt,
    or a prompt with more than `images_per_prompt` pictures.
    """
    if protocol not in MODES:
        raise UsageError(f"protocol {protocol!r} is unknown: expected one of {', '.join(MODES)}")
    own = _by_prompt(questions)
    answers = {str(prompt_id): pictures for prompt_id, pictures in answers.items()}
    strangers = answers.keys() - own.keys()
    if strangers:
        raise UserError(f"answers of {min(strangers)!r}, which has no questions")
    per_prompt: dict[str, float] = {}
    of_category: dict[str, list[float]] = defaultdict(list)
    problems: list[str] = []
    for prompt_id, pictures in answers.items():
        if len(pictures) > images_per_prompt:
            raise UserError(f"prompt {prompt_id!r}: {len(pictures)} pictures, expected {images_per_prompt}")
        if len(pictures) < images_per_prompt:
            problems.append(f"prompt {prompt_id!r}: {len(pictures)} pictures, expected {images_per_prompt}")
        scored, told = _score_prompt(own[prompt_id], pictures, protocol)
        problems += [f"prompt {prompt_id!r}{problem}" for problem in told]
        if scored:
            per_prompt[prompt_id] = fmean(fmean(points.values()) for points, _ in scored)
            for _, by_category_ in scored if protocol == "fixed" else scored[-1:]:
                for question in _asked(own[prompt_id], protocol):
                    of_category[question.category].append(by_category_[question.question_id])
    absent = own.keys() - answers.keys()
    if absent:
        problems.append(f"{len(absent)} of {len(own)} prompts have no answers, first {min(absent)!r}")
    of_broad: dict[str, list[float]] = defaultdict(list)
    for category, points in of_category.items():
        of_broad[category.partition("-")[0].strip()] += points
    return DpgScores(
        overall=fmean(per_prompt.values()) if per_prompt else None,
        per_category={name: fmean(points) for name, points in sorted(of_category.items())},
        per_broad_category={name: fmean(points) for name, points in sorted(of_broad.items())},
        per_prompt=per_prompt,
        n_prompts=len(per_prompt),
        problems=tuple(problems),
    )


def picture_points(
    questions: Sequence[DpgQuestion], answers: Answers, protocol: Mode
) -> tuple[dict[int, float], dict[int, float]]:
    """0 or 1 for each asked question about one picture, after dependencies; and what its category is told.

    Raises UserError for a question without answer, a parent that was not asked (in `official` only if it is looked
    at), or in `fixed` questions that depend on each other in a circle.
    """
    asked = _asked(questions, protocol)
    answers = _by_question(answers, questions)
    missing = [question for question in asked if answers.get(question.question_id) is None]
    if missing:
        raise UserError(f"no answer to question {missing[0].question_id} ({missing[0].question!r})")
    given = {question.question_id: float(_is_yes(answers[question.question_id], protocol)) for question in asked}
    points = dict(given)
    for question in asked if protocol == "official" else _parents_first(asked):
        for parent in question.parent_ids:
            if parent == NO_PARENT:
                continue
            if parent not in points:
                raise UserError(f"question {question.question_id} depends on {parent}, which was not asked")
            if points[parent] == 0:
                points[question.question_id] = 0.0
                break
    return points, given if protocol == "official" else points


def question_from_row(row: Mapping[str, Any], *, first_row: bool = False) -> DpgQuestion:
    """From the columns of the original table. Raises UserError for a row without them."""
    try:
        dependency = str(row["dependency"]).strip()
        return DpgQuestion(
            prompt_id=str(row["item_id"]),
            question_id=int(row["proposition_id"]),
            question=str(row["question_natural_language"]).strip(),
            category=str(row["tuple"]).partition("(")[0].strip(),
            parent_ids=tuple(int(float(parent)) for parent in dependency.split(",")),
            first_row=first_row,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"question {row.get('proposition_id')!r} of {row.get('item_id')!r}: expected item_id, proposition_id, "
            f"dependency, tuple and question_natural_language as DPG-Bench has them ({type(error).__name__}: {error})"
        ) from error


def _by_prompt(questions: Iterable[DpgQuestion | Mapping[str, Any]]) -> dict[str, list[DpgQuestion]]:
    found: dict[str, list[DpgQuestion]] = defaultdict(list)
    for number, given in enumerate(questions):
        question = given if isinstance(given, DpgQuestion) else question_from_row(given, first_row=number == 0)
        if any(question.question_id == other.question_id for other in found[question.prompt_id]):
            raise UserError(f"prompt {question.prompt_id!r} has two questions {question.question_id}")
        found[question.prompt_id].append(question)
    return found


def _by_question(answers: Answers, questions: Sequence[DpgQuestion]) -> dict[int, Any]:
    """Raises UserError for answers of no question, or another number of them."""
    if isinstance(answers, Mapping):
        try:
            return {int(question_id): answer for question_id, answer in answers.items()}
        except (TypeError, ValueError) as error:
            raise UserError(f"answers by {next(iter(answers))!r}, expected the numbers of questions") from error
    if len(answers) != len(questions):
        raise UserError(f"{len(answers)} answers to {len(questions)} questions")
    return {question.question_id: answer for question, answer in zip(questions, answers, strict=True)}


def _asked(questions: Sequence[DpgQuestion], protocol: Mode) -> list[DpgQuestion]:
    return [question for question in questions if protocol == "fixed" or not question.first_row]


def _score_prompt(
    questions: Sequence[DpgQuestion], pictures: Sequence[Answers], protocol: Mode
) -> tuple[list[tuple[dict[int, float], dict[int, float]]], list[str]]:
    """The points of each picture that could be scored, and what went wrong."""
    if not _asked(questions, protocol):
        return [], [": its only question is the first of the table, which is not asked"]
    scored, problems = [], []
    for number, answers in enumerate(pictures):
        try:
            scored.append(picture_points(questions, answers, protocol))
        except UserError as error:
            problems.append(f", picture {number}: {error}")
    return ([] if problems and protocol == "official" else scored), problems


def _is_yes(answer: Any, protocol: Mode) -> bool:
    """`official` takes exactly "yes"."""
    if not isinstance(answer, str):
        return bool(answer == 1)
    return answer == "yes" or (protocol == "fixed" and answer.strip().rstrip(".").lower() == "yes")


def _parents_first(questions: Sequence[DpgQuestion]) -> list[DpgQuestion]:
    ids = {question.question_id for question in questions}
    placed: dict[int, DpgQuestion] = {}
    while len(placed) < len(questions):
        ready = [
            question
            for question in questions
            if question.question_id not in placed
            and not any(parent in ids and parent not in placed for parent in question.parent_ids)
        ]
        if not ready:
            raise UserError("its questions depend on each other in a circle")
        placed |= {question.question_id: question for question in ready}
    return list(placed.values())


def _suite(mode: Mode) -> Suite:
    return Suite(
        metrics=("dpg",),
        prompts="benchmarks.suites.dpg_prompts:dpg_prompts",
        n_prompts=N_PROMPTS,
        group=by_category,
        protocol=f"{NAME}/{mode}",
        generate={"samples_per_prompt": 4},
    )


OFFICIAL, FIXED = _suite("official"), _suite("fixed")
