"""Questions with dependencies: worked out by hand, of DensePrompts as built, and what goes wrong in one line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.metrics.dsg import Dsg
from benchmarks.metrics.questions import AskedQuestion, answered, questions_of, read_questions, to_spec
from llm4gen_data.densprompts.build import build
from llm4gen_data.densprompts.run import QUESTION_SCHEMA
from llm4gen_data.densprompts.taxonomy import quotas
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import write_shard
from llm4gen_data.records import Prompt

QUESTIONS = [
    AskedQuestion("q1", "Is there a dog?", "yes", "existence"),
    AskedQuestion("q2", "Is the dog red?", "yes", "color", ("q1",)),
    AskedQuestion("q3", "Is the red dog asleep?", "yes", "action", ("q2",)),
    AskedQuestion("q4", "Is there a cat?", "no", "existence"),
]
PICTURE = Image.new("RGB", (8, 8))


class Known:
    """Answers with the probabilities that a test gives to each text; made by name, so they stand in the class."""

    yes: ClassVar[dict[str, float]] = {}

    def identity(self) -> dict[str, Any]:
        return {"model": "known"}

    def answer_probabilities(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[Sequence[str]],
        answers: tuple[str, str] = ("yes", "no"),
    ) -> list[list[float]]:
        assert len(images) == len(questions)
        return [[self.yes.get(question, 0.9) for question in own] for own in questions]


def prompt(spec: str | None, prompt_id: str = "p") -> Prompt:
    return Prompt(prompt_id, "a red dog asleep", "all", 4, spec)


def dsg(monkeypatch: pytest.MonkeyPatch, **yes: float) -> Dsg:
    monkeypatch.setattr(
        Known, "yes", {question.question: yes.get(question.question_id, 0.9) for question in QUESTIONS}
    )
    return Dsg(vqa=f"{__name__}:Known")


def test_what_depends_on_a_wrong_answer_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = dsg(monkeypatch, q1=0.4, q4=0.2)
    own = prompt(to_spec(QUESTIONS))
    metric.check([own])
    (scores,) = metric.score([PICTURE], [own])
    values = {score.kind: score.value for score in scores}
    assert values["with_dependency"] == 1 / 4  # the cat alone, which is rightly not there
    assert values["without_dependency"] == 3 / 4
    assert values["probability"] == pytest.approx((0.4 + 0.9 + 0.9 + 0.8) / 4)
    assert values["geometric_mean"] == pytest.approx((0.4 * 0.9 * 0.9 * 0.8) ** 0.25)
    assert values["existence"] == 1 / 2
    assert values["color"] == 0
    reason = scores[0].reason or ""
    assert "Is there a dog? no (P(yes) = 0.400)" in reason
    assert "Is the red dog asleep? yes (P(yes) = 0.900), counts 0: Is the dog red? was answered wrongly" in reason
    assert "Is there a cat? no (P(no) = 0.800)" in reason
    assert metric.identity()["questions_sha256"]


@pytest.mark.parametrize("order", [QUESTIONS, QUESTIONS[::-1]])
def test_dependencies_hold_in_any_order(order: list[AskedQuestion]) -> None:
    found = answered(order, [0.1 if own.question_id == "q1" else 0.9 for own in order])
    assert [own.zeroed_by for own in sorted(found, key=lambda own: own.question.question_id)] == [
        None,
        "q1",
        "q2",
        None,
    ]


def test_one_half_is_a_no_and_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    own = prompt(to_spec(QUESTIONS))
    (scores,) = dsg(monkeypatch, q1=0.5).score([PICTURE], [own])
    assert scores[0].value == 0
    nothing = prompt('{"objects": [], "relations": [], "background": null}')
    assert dsg(monkeypatch).score([PICTURE] * 2, [nothing, own])[0] == []
    (failed,) = dsg(monkeypatch, q2=float("nan")).score([PICTURE], [own])
    assert [score.value for score in failed] == [None]
    assert "Is the dog red?" in (failed[0].error_message or "")


def test_questions_of_densprompts_follow_from_the_spec_and_equal_the_file(tmp_path: Path) -> None:
    made = list(build(quotas(5), 3, Counter()))
    rows = [
        {"prompt_id": dense.prompt.prompt_id, **asdict(own), "tuple": own.fact, "parent_ids": list(own.parent_ids)}
        for dense in made
        for own in dense.questions
    ]
    for own in rows:
        own.pop("fact")
    write_shard(tmp_path / "questions.parquet", pa.Table.from_pylist(rows, QUESTION_SCHEMA))
    of_file = read_questions(tmp_path / "questions.parquet")
    for dense in made:
        assert questions_of(dense.prompt) == of_file[dense.prompt.prompt_id]
    assert sum(bool(own.parent_ids) for own in questions_of(made[0].prompt)) > 2


def test_what_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="has no questions in its spec"):
        dsg(monkeypatch).check([prompt(None)])
    stranger = [AskedQuestion("q1", "Is it red?", "yes", "color", ("q9",))]
    with pytest.raises(UserError, match="depends on 'q9'"):
        questions_of(prompt(to_spec(stranger)))
    circle = [AskedQuestion("a", "A?", "yes", "x", ("b",)), AskedQuestion("b", "B?", "yes", "x", ("a",))]
    with pytest.raises(UserError, match="depends on itself"):
        questions_of(prompt(to_spec(circle)))
    with pytest.raises(UserError, match="expected a text, and an answer"):
        questions_of(prompt(to_spec([AskedQuestion("a", "A?", "maybe", "x")])))
    write_shard(tmp_path / "other.parquet", pa.table({"prompt_id": ["p"]}))
    with pytest.raises(UserError, match="no column question_id"):
        read_questions(tmp_path / "other.parquet")
    rows = [{"prompt_id": "p", **asdict(QUESTIONS[0]), "kind": "existence", "tuple": "", "skill": "existence"}]
    rows[0].pop("category")
    write_shard(tmp_path / "questions.parquet", pa.Table.from_pylist(rows, QUESTION_SCHEMA))
    metric = Dsg(vqa=f"{__name__}:Known", questions=str(tmp_path / "questions.parquet"))
    metric.check([prompt(None)])
    with pytest.raises(UserError, match="no questions of prompt 'other'"):
        metric.check([prompt(None, "other")])
