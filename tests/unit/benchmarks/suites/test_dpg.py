"""DPG-Bench's sums, checked against figures worked out by hand; the faults are there in `official` only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.suites.dpg import DpgQuestion, aggregate, question_from_row
from benchmarks.suites.dpg_prompts import questions_of, read_table
from llm4gen_data.errors import UserError

HEADER = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language"
)


def row(prompt_id: str, number: int, dependency: str, fact: str) -> dict[str, str]:
    return {
        "item_id": prompt_id,
        "proposition_id": str(number),
        "dependency": dependency,
        "tuple": fact,
        "question_natural_language": f"Question {number}?",
    }


# Of "a", question 1 is the first row of the table; 3 depends on 2, 4 on 3.
A = [
    row("a", 1, "0", "entity - whole (dog)"),
    row("a", 2, "0", "entity - whole (cat)"),
    row("a", 3, "2", "attribute - color (cat, red)"),
    row("a", 4, "3,0", "relation - spatial (cat, dog, on)"),
]
B = [row("b", 1, "0", "entity - whole (car)"), row("b", 2, "1", "attribute - color (car, blue)")]


def test_official_skips_the_first_row_and_takes_categories_of_the_last_picture_before_dependencies() -> None:
    answers = {
        # picture 0: the cat is not there, so its colour and its place count nothing: 0 of 3
        # picture 1: 2 of 3 (relation wrong)
        "a": [{1: "yes", 2: "no", 3: "yes", 4: "yes"}, {1: "no", 2: "yes", 3: "yes", 4: "no"}],
        "b": [{1: "yes", 2: "yes"}, {1: "no", 2: "yes"}],
    }
    scores = aggregate(A + B, answers, 2, protocol="official")
    assert scores.per_prompt == pytest.approx({"a": (0 + 2 / 3) / 2, "b": (1 + 0) / 2})
    assert scores.overall == pytest.approx((1 / 3 + 1 / 2) / 2)
    # last pictures as answered: cat yes, car no; cat red yes, car blue yes although there is no car; relation no
    assert scores.per_category == {"attribute - color": 1.0, "entity - whole": 0.5, "relation - spatial": 0.0}
    assert scores.problems == ()


def test_fixed_asks_everything_and_takes_categories_of_all_pictures_after_dependencies() -> None:
    answers = {
        "a": [{1: "yes", 2: "no", 3: "yes", 4: "yes"}, {1: "no", 2: "yes", 3: "yes", 4: "no"}],
        "b": [{1: "yes", 2: "yes"}, {1: "no", 2: "yes"}],
    }
    scores = aggregate(A + B, answers, 2, protocol="fixed")
    assert scores.per_prompt == pytest.approx({"a": (1 / 4 + 2 / 4) / 2, "b": 0.5})
    assert scores.overall == pytest.approx((3 / 8 + 1 / 2) / 2)
    # entities: a 1+0, 0+1, b 1, 0; colours: a 0, 1, b 1, 0; relation: 0, 0
    assert scores.per_category == {"attribute - color": 0.5, "entity - whole": 0.5, "relation - spatial": 0.0}
    assert scores.per_broad_category == {"attribute": 0.5, "entity": 0.5, "relation": 0.0}


def test_official_drops_a_prompt_whose_questions_depend_on_the_skipped_one() -> None:
    questions = [A[0], row("a", 2, "1", "attribute - color (dog, red)"), *B]
    answers = {"a": [{1: "yes", 2: "yes"}], "b": [{1: "yes", 2: "yes"}]}
    scores = aggregate(questions, answers, 1, protocol="official")
    assert scores.per_prompt == {"b": 1.0}
    assert "attribute - color" in scores.per_category
    assert len(scores.problems) == 1
    assert "'a'" in scores.problems[0]
    assert aggregate(questions, answers, 1, protocol="fixed").per_prompt == {"a": 1.0, "b": 1.0}


def test_answers_may_be_in_the_order_of_questions_or_by_the_text_of_their_number() -> None:
    forms: tuple[Any, ...] = ({1: "yes", 2: "no"}, {"1": "yes", "2": "no"}, ["yes", "no"], [True, False])
    for answers in forms:
        assert aggregate(B, {"b": [answers]}, 1).overall == 0.5
    assert "3 answers to 2 questions" in aggregate(B, {"b": [["yes"] * 3]}, 1).problems[0]


def test_only_the_exact_word_is_a_yes_in_official() -> None:
    for answer, official, fixed in (("Yes", 0, 1), ("yes.", 0, 1), ("yes", 1, 1), ("no", 0, 0), (True, 1, 1)):
        answers: Mapping[str, Any] = {"b": [{1: answer, 2: "yes"}]}
        of_b = [DpgQuestion("b", 1, "?", "entity"), DpgQuestion("b", 2, "?", "attribute", (1,))]
        assert aggregate(of_b, answers, 1, protocol="official").overall == official
        assert aggregate(of_b, answers, 1, protocol="fixed").overall == fixed


def test_a_child_before_its_parent_is_zeroed_in_fixed_only() -> None:
    questions = [
        DpgQuestion("p", 1, "?", "attribute", (2,)),
        DpgQuestion("p", 2, "?", "entity", (3,)),
        DpgQuestion("p", 3, "?", "entity"),
    ]
    answers = {"p": [{1: "yes", 2: "yes", 3: "no"}]}
    # in the order of the table, 1 still finds its parent right
    assert aggregate(questions, answers, 1, protocol="official").overall == pytest.approx(1 / 3)
    assert aggregate(questions, answers, 1, protocol="fixed").overall == 0


def test_a_picture_without_an_answer_is_left_out_and_told_never_zero() -> None:
    answers = {"b": [{1: "yes", 2: "yes"}, {1: "yes"}], "a": []}
    fixed = aggregate(A + B, answers, 2)
    assert fixed.per_prompt == {"b": 1.0}
    assert len(fixed.problems) == 2
    assert aggregate(A + B, answers, 2, protocol="official").per_prompt == {}
    assert aggregate(A + B, {}, 2).overall is None


def test_what_cannot_be_meant_is_one_line() -> None:
    with pytest.raises(UserError, match="has no questions"):
        aggregate(B, {"x": [{1: "yes"}]}, 1)
    with pytest.raises(UserError, match="2 pictures, expected 1"):
        aggregate(B, {"b": [{}, {}]}, 1)
    with pytest.raises(UserError, match="two questions 1"):
        aggregate([*B, B[0]], {}, 1)
    with pytest.raises(UserError, match="dependency"):
        question_from_row({"item_id": "a", "proposition_id": 1})
    with pytest.raises(UserError, match="unknown"):
        aggregate(B, {}, 1, protocol="mended")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=7))
def test_fixed_is_never_above_the_answers_and_ignores_the_order(drawn: list[tuple[bool, int]]) -> None:
    questions = [
        DpgQuestion("p", i, "?", "entity", (parent,) if parent < i else ()) for i, (_, parent) in enumerate(drawn, 1)
    ]
    answers = {"p": [{i: "yes" if yes else "no" for i, (yes, _) in enumerate(drawn, 1)}]}
    score = aggregate(questions, answers, 1).overall
    assert score is not None
    assert 0 <= score <= sum(yes for yes, _ in drawn) / len(drawn) + 1e-12
    assert score == aggregate(questions[::-1], answers, 1).overall


def test_the_table_becomes_prompts_with_their_questions(tmp_path: Path) -> None:
    lines = [HEADER]
    for item in (*A, *B):
        prompt_id, number, dependency, fact, question = item.values()
        lines.append(f'{prompt_id},"A text, of {prompt_id}.",,{number},"{dependency}",,,"{fact}",{question}')
    path = tmp_path / "dpg_bench.csv"
    path.write_text("\n".join(lines))
    prompts = read_table(path)
    assert [prompt.prompt_id for prompt in prompts] == ["a", "b"]
    assert prompts[0].prompt == "A text, of a."
    questions = questions_of(prompts[0])
    assert [question.first_row for question in questions] == [True, False, False, False]
    assert questions[3] == DpgQuestion("a", 4, "Question 4?", "relation - spatial", (3, 0))
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"dpg_bench\.csv"):
        read_table(path)
