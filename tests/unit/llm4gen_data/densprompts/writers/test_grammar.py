"""The grammar writer: many plans, none too often; parts and other names; twins that differ in their claim alone."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.sample import sample_spec, target_words
from llm4gen_data.densprompts.spec import Entity, Relation, Spec
from llm4gen_data.densprompts.taxonomy import quotas, slots
from llm4gen_data.densprompts.writers.grammar import write, write_with_plans

N = 400
MAX_PLAN_SHARE = 0.03


@pytest.fixture(scope="module")
def specs() -> list[Spec]:
    made = []
    for k, slot in enumerate(slots(quotas(N), 5)):
        rng = random.Random(k)
        n_words = target_words(rng)
        spec = sample_spec(*slot, n_words, rng)
        made.append(replace(spec, details=spec.details[: k % 5]))
    return made


def test_no_plan_is_stock(specs: list[Spec]) -> None:
    plans = Counter(plan for spec in specs for plan in write_with_plans(spec).plans)
    assert len(plans) > 200
    plan, count = plans.most_common(1)[0]
    # 2,500 sentences: a share of 3 % has a standard deviation of 0.35 %.
    assert count / plans.total() <= MAX_PLAN_SHARE + 0.007, plan


def test_every_sentence_has_its_plan_and_nothing_is_left_unfilled(specs: list[Spec]) -> None:
    for spec in specs:
        written = write_with_plans(spec)
        assert len(written.plans) == len(re.split(r"(?<=[.!?])\s+", re.sub(r"\"[^\"]*\"", "", written.text)))
        assert not re.search(r"[{}\x00|]|\b(?:None|be there)\b", written.text), written.text


def test_texts_say_their_specification(specs: list[Spec]) -> None:
    problems = [p for spec in specs for p in check(write(spec), spec) if p.reason != "length"]
    assert len(problems) <= 0.03 * N, problems


def test_the_text_follows_from_specification_and_attempt(specs: list[Spec]) -> None:
    for spec in specs[:20]:
        assert write(spec) == write(spec)
        assert len({write(spec, attempt) for attempt in range(4)}) == 4


FOX = Entity("fox", 1, "it", look="sleek", posture="stand", action="sniff the air")
STOOLS = Entity("stool", 3, "they", color="blue", posture="stand")
KETTLE = Entity("kettle", 1, "it", color="red", material="copper", posture="stand", part="a chipped rim")
YARD = Spec(
    "animals",
    "color",
    "medium",
    "in a walled garden",
    "garden",
    (FOX, STOOLS, KETTLE),
    (Relation(1, "left of", 0), Relation(2, "near", 1)),
)


def test_parts_and_other_names_are_used() -> None:
    texts = [write(YARD, attempt) for attempt in range(40)]
    assert all("a chipped rim" in text for text in texts)
    assert all(re.search(r"[Tt]hree (?:\w+ )?stools", text) for text in texts)
    assert any("the animal" in text.lower() for text in texts)
    assert any(re.search(r"\bit\b", text.lower()) for text in texts)


def test_a_twin_with_the_seed_of_its_original_differs_in_its_claim_alone() -> None:
    blue, red = replace(STOOLS, color="red"), replace(KETTLE, color="blue")
    recolored = replace(YARD, entities=(FOX, blue, red))
    mirrored = replace(YARD, relations=(Relation(1, "right of", 0), YARD.relations[1]))
    recounted = replace(YARD, entities=(FOX, replace(STOOLS, count=4), KETTLE))
    for attempt in range(20):
        text = write(YARD, attempt)
        for twin, words in ((recolored, {"red", "blue"}), (mirrored, {"right"}), (recounted, {"four"})):
            other = write(twin, attempt, seed=YARD.spec_id)
            pairs = zip(re.findall(r"\w+", text.lower()), re.findall(r"\w+", other.lower()), strict=True)
            assert {new for old, new in pairs if new != old} == words, (text, other)
