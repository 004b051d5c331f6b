"""Counterfactual twins: one claim turned round in the prompt's own text, and the questions that it makes wrong."""

import difflib
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_data.densprompts.build import Slot, written_by_grammar
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.questions import questions
from llm4gen_data.densprompts.spec import Entity, Relation, Spec
from llm4gen_data.densprompts.taxonomy import QUOTAS, skills_of
from llm4gen_data.densprompts.twins import KINDS, twins

SPEC = Spec(
    category="interiors",
    skill="color",
    length="short",
    setting="in a narrow hallway",
    place_noun="hallway",
    entities=(
        Entity("dog", 1, "it", look="shaggy", color="brown", posture="sit", action="wag its tail"),
        Entity("vase", 1, "it", color="orange", material="glass", posture="stand"),
        Entity("candle", 3, "they", size="small", color="red", posture="stand", place="on the windowsill"),
    ),
    relations=(Relation(1, "left of", 0),),
    light="soft morning light",
)
PROMPT = (
    "A shaggy brown dog sits in a narrow hallway. To the left of the dog stands an orange glass vase. The dog wags "
    "its tail. Three small red candles stand on the windowsill. The dog seems quite at home here, and the scene is "
    "lit by soft morning light."
)


def test_a_twin_of_each_kind() -> None:
    asked = questions(SPEC)
    assert check(PROMPT, SPEC) == []
    made = {twin.kind: twin for twin in twins("dp-1", PROMPT, SPEC, asked)}
    assert tuple(made) == KINDS
    words = {question.question_id: question.question for question in asked}
    false = {kind: [words[i] for i in twin.false_question_ids] for kind, twin in made.items()}
    colors, relation, count = made.values()
    assert colors.prompt.startswith("A shaggy orange dog")
    assert "a brown glass vase" in colors.prompt
    assert false[colors.kind] == ["Is the dog brown?", "Is the vase orange?"]
    assert relation.prompt == PROMPT.replace("To the left of", "To the right of")
    assert false[relation.kind] == ["Is the vase to the left of the dog?"]
    assert count.prompt == PROMPT.replace("Three", "Four")
    assert false[count.kind] == ["Are there exactly three candles?"]
    assert count.spec.entities[2].count == 4
    assert [twin.twin_id for twin in made.values()] == ["dp-1-colors", "dp-1-relation", "dp-1-count"]


def test_a_claim_said_in_words_that_cannot_be_turned_has_no_twin() -> None:
    # the color stands in a detail too, which must stay true
    spec = Spec(**{**{name: getattr(SPEC, name) for name in SPEC.__slots__}, "details": ("a brown door stands open",)})
    prompt = PROMPT + " At the end a brown door stands open."
    kinds = [twin.kind for twin in twins("dp-1", prompt, spec, questions(spec))]
    assert "relation mirrored" in kinds
    swapped = next((t for t in twins("dp-1", prompt, spec, questions(spec)) if t.kind == "colors swapped"), None)
    assert swapped is None or "a brown door" in swapped.prompt


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(c, s) for c in QUOTAS for s in skills_of(c)]))
def test_twins_differ_in_their_claim_alone(index: int, slot: tuple[str, str]) -> None:
    spec, written, _, _ = written_by_grammar(Slot(index, *slot), seed=random.Random(index).randint(0, 9))
    text, asked = written.text, questions(spec)
    for twin in twins("dp-1", text, spec, asked):
        assert check(twin.prompt, twin.spec) == []
        still_true = {question.question for question in questions(twin.spec)}
        false = {question.question_id for question in asked if question.question not in still_true}
        assert false == set(twin.false_question_ids)
        assert len(false) == (2 if twin.kind == "colors swapped" else 1)
        changed = difflib.SequenceMatcher(None, text.split(), twin.prompt.split()).get_opcodes()
        assert sum(1 for tag, *_ in changed if tag != "equal") <= 8
        assert abs(len(text.split()) - len(twin.prompt.split())) <= 4
