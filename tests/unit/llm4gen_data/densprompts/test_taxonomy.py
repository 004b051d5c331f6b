"""Quotas: exact sums, exact shares, skills dealt evenly."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.densprompts.config import DensePromptsConfig
from llm4gen_data.densprompts.taxonomy import (
    DEFAULT_N,
    QUOTAS,
    SKILLS,
    apportion,
    own_quotas,
    quotas,
    skills_of,
    slots,
)
from llm4gen_data.errors import UsageError


def test_the_default_quotas_are_the_table() -> None:
    assert DEFAULT_N == 7000
    assert quotas(7000) == QUOTAS


@given(st.integers(1, 20_000))
def test_quotas_sum_to_n_and_keep_to_the_proportion(n: int) -> None:
    shares = quotas(n)
    assert sum(shares.values()) == n
    for category, share in shares.items():
        assert abs(share - n * QUOTAS[category] / DEFAULT_N) < 1


def test_apportion_gives_ties_to_the_first() -> None:
    assert apportion(5, {"a": 1, "b": 1, "c": 1}) == {"a": 2, "b": 2, "c": 1}


@pytest.mark.parametrize("n", [12, 300, 7000])
def test_slots_meet_quotas_and_deal_skills_evenly(n: int) -> None:
    dealt = slots(quotas(n), seed=4)
    assert Counter(category for category, _ in dealt) == Counter(quotas(n))
    for category in QUOTAS:
        counts = Counter(skill for c, skill in dealt if c == category)
        assert set(counts) <= set(skills_of(category))
        assert max(counts.values()) - min([counts[skill] for skill in skills_of(category)]) <= 1
    assert dealt == slots(quotas(n), seed=4)
    assert n < 100 or dealt != slots(quotas(n), seed=5)


def test_every_skill_is_tested_somewhere() -> None:
    assert {skill for category in QUOTAS for skill in skills_of(category)} == set(SKILLS)


def test_categories_of_ones_own_keep_their_proportions() -> None:
    assert quotas(140, ("people", "vehicles")) == {"people": 90, "vehicles": 50}
    assert DensePromptsConfig(n=14, categories=("vehicles", "people")).shares() == {"people": 9, "vehicles": 5}


def test_quotas_of_ones_own() -> None:
    table = {"vehicles": 3, "people": 2, "food": 0}
    assert own_quotas(table, 5, "quotas") == {"people": 2, "vehicles": 3}
    assert DensePromptsConfig(quotas=table).shares() == {"people": 2, "vehicles": 3}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DensePromptsConfig(categories=("vehicle",)), "unknown category 'vehicle'; did you mean 'vehicles'"),
        (
            DensePromptsConfig(quotas={"gardening": 3}),
            "quotas: unknown category 'gardening'; expected one of people, ",
        ),
        (DensePromptsConfig(n=10, quotas={"people": 3, "food": 4}), "quotas: the quotas sum to 7, expected n = 10"),
        (DensePromptsConfig(quotas={"people": 0}), "quotas: the quotas sum to 0"),
        (DensePromptsConfig(quotas={"people": -1, "food": 2}), "quotas: people = -1: expected 0 or more"),
        (DensePromptsConfig(quotas={"people": 1}, categories=("people",)), "cannot be given together"),
    ],
)
def test_wrong_quotas_are_one_line(config: DensePromptsConfig, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        config.shares()
