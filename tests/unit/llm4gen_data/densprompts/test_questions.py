"""Questions: one for every fact, parents before children, all answered yes."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.densprompts.questions import KINDS, SKILLS, questions
from llm4gen_data.densprompts.sample import sample_spec
from llm4gen_data.densprompts.spec import ATTRIBUTES
from llm4gen_data.densprompts.taxonomy import QUOTAS, skills_of
from tests.unit.llm4gen_data.densprompts.test_check import SPEC

SLOTS = [(category, skill) for category in QUOTAS for skill in skills_of(category)]


def test_questions_of_a_spec() -> None:
    asked = {q.question: q for q in questions(SPEC)}
    assert list(asked) == [
        "Is there a dog in the picture?",
        "Is there a vase in the picture?",
        "Are there candles in the picture?",
        "Is the dog shaggy?",
        "Is the dog brown?",
        "Is the dog wagging its tail?",
        "Is the vase blue?",
        "Is the vase made of glass?",
        "Are there exactly three candles?",
        "Are the candles small?",
        "Are the candles red?",
        "Are the candles on the windowsill?",
        "Is the vase to the left of the dog?",
        "Is the dog looking at the vase?",
        "Is the scene set in a narrow hallway?",
        "Is it true that dust floats in the air?",
        "Is the scene lit by soft morning light?",
        "Is the picture an oil painting?",
    ]
    assert asked["Is the vase to the left of the dog?"].parent_ids == ("q02", "q01")
    assert asked["Is the dog looking at the vase?"].kind == "action"
    skills = {q.skill for q in asked.values()}
    assert skills == {"existence", "texture", "color", "action", "count", "size", "spatial", "scene"}
    assert asked["Is the dog shaggy?"].skill == asked["Is the vase made of glass?"].skill == "texture"
    assert asked["Are the candles on the windowsill?"].skill == "spatial"
    assert asked["Is the vase made of glass?"].fact == "attribute - material (vase, glass)"
    assert asked["Are there exactly three candles?"].fact == "count (candles, ==3)"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SLOTS))
def test_parents_come_first_and_every_fact_is_asked(seed: int, slot: tuple[str, str]) -> None:
    spec = sample_spec(*slot, 80, random.Random(seed))
    asked = questions(spec)
    seen: set[str] = set()
    for question in asked:
        assert question.kind in KINDS
        assert question.skill in SKILLS
        assert question.answer == "yes"
        assert question.question.endswith("?")
        assert set(question.parent_ids) <= seen
        assert question.question_id not in seen
        assert question.parent_ids or question.kind in ("existence", "scene")
        seen.add(question.question_id)
    kinds = [question.kind for question in asked]
    assert kinds.count("existence") == len(spec.entities)
    assert kinds.count("count") == sum(e.count > 1 for e in spec.entities)
    said = sum(getattr(e, name) is not None for e in spec.entities for name in ATTRIBUTES)
    assert kinds.count("attribute") == said
    assert len({question.question for question in asked}) == len(asked)
