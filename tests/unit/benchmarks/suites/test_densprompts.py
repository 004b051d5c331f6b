"""Twins: a metric that reads a claim prefers the prompt, one that is blind to it is at chance."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from PIL import Image

from benchmarks.records import Score
from benchmarks.suites.densprompts import SUITE, twin_preferences
from benchmarks.suites.suite import SUITES
from llm4gen_data.densprompts.build import DensePrompt, build
from llm4gen_data.densprompts.taxonomy import quotas
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve

N = 24


@pytest.fixture(scope="module")
def dense() -> list[DensePrompt]:
    return list(build(quotas(N), 7, Counter()))


class Reader:
    """Knows every true prompt by heart; `sees` says whether it minds another text."""

    headline, unit, digits = "mean", "share", 3

    def __init__(self, known: Iterable[str], sees: bool) -> None:
        self.known, self.sees, self.checked = set(known), sees, 0

    def identity(self) -> dict[str, object]:
        return {"metric": "reader"}

    def check(self, prompts: Iterable[Prompt]) -> None:
        self.checked = len(list(prompts))

    def score(self, images: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        assert len(images) == len(prompts) <= 5
        return [[Score("other", 0.3), Score("mean", float(not self.sees or p.prompt in self.known))] for p in prompts]


def test_the_suite_is_known_by_name() -> None:
    assert resolve("suite", "densprompts", SUITES) is SUITE


@pytest.mark.parametrize(("sees", "share"), [(True, 1.0), (False, 0.5)])
def test_a_metric_that_reads_prefers_the_prompt(dense: list[DensePrompt], sees: bool, share: float) -> None:
    metric = Reader([shown.prompt.prompt for shown in dense], sees)
    told = twin_preferences(metric, [Image.new("RGB", (8, 8))] * N, dense, batch_size=5)
    kinds = Counter(twin.kind for shown in dense for twin in shown.twins)
    assert {own.kind: own.n_pairs for own in told} == kinds
    assert metric.checked == N + kinds.total()
    for own in told:
        assert own.share == share
        assert own.n_failed == 0
        assert own.low is not None
        assert own.high is not None
        assert own.low <= share <= own.high


def test_pairs_without_a_score_are_told_apart(dense: list[DensePrompt]) -> None:
    class Silent(Reader):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
            return [[Score("mean", None, error_message="cannot be read")] for _ in prompts]

    told = twin_preferences(Silent([], True), [Image.new("RGB", (8, 8))] * N, dense)
    assert all(own.share is None and own.n_failed > 0 for own in told)


def test_what_does_not_fit_is_one_line(dense: list[DensePrompt]) -> None:
    with pytest.raises(UserError, match="0 images of 24 prompts"):
        twin_preferences(Reader([], True), [], dense)
    with pytest.raises(UserError, match="has a twin"):
        twin_preferences(Reader([], True), [], [])
