import pytest

from benchmarks.config import AestheticOptions, BenchConfig
from benchmarks.metrics.metric import distinct, load_metric
from benchmarks.metrics.vqa import ask_by_picture
from benchmarks.run import metric_options
from llm4gen_data.errors import UsageError, UserError
from tests.factories import picture


def test_what_is_no_metric_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match="did you mean 'clip_score'"):
        load_metric("clip_scor", {})
    with pytest.raises(UsageError, match="missing a required argument: 'kind'; expected a class like"):
        load_metric("benchmarks.records:Score", {})
    with pytest.raises(UsageError, match="has no headline, unit, digits, identity, check, score"):
        load_metric("benchmarks.config:BenchConfig", {})


def test_a_device_that_is_not_there_is_told_before_weights_are_looked_for() -> None:
    config = BenchConfig(aesthetic=AestheticOptions(device="cuda:99"))
    with pytest.raises(UserError, match="aesthetic: device 'cuda:99' cannot be used"):
        metric_options(config, "aesthetic")
    assert metric_options(config, "vqascore")["device"] == "cpu"


def test_a_picture_that_comes_several_times_is_shown_once() -> None:
    a, b = picture(1), picture(2)
    assert distinct([a, b, a, b]) == ([a, b], [0, 1, 0, 1])
    shown: list[list[str]] = []

    def ask(images: object, questions: object) -> list[list[float]]:
        assert images == [a, b]
        shown.extend(questions)  # type: ignore[arg-type]
        return [[float(len(question)) for question in own] for own in questions]  # type: ignore[attr-defined]

    assert ask_by_picture(ask, [a, b, a], [["x", "xx"], [], ["xxx"]]) == [[1.0, 2.0], [], [3.0]]
    assert shown == [["x", "xx", "xxx"], []]
