from pathlib import Path

import pytest

from benchmarks.metrics.clip_score import ClipScore
from benchmarks.metrics.long_clip import ChunkedClipScore, LongClipScore, chunks
from benchmarks.metrics.metric import load_metric
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_clip(tmp_path_factory.mktemp("clip")))


def prompt(text: str) -> Prompt:
    return Prompt("p", text, "c", len(text.split()), None)


def n_words(text: str) -> int:
    return len(text.split())


def test_prompts_are_parted_at_sentences_and_nothing_is_lost() -> None:
    assert chunks("A cat. Is it red? Yes; it is.", n_words, 9) == ["A cat.", "Is it red?", "Yes;", "it is."]
    text = " ".join(f"w{i}" for i in range(23)) + ". End."
    parts = chunks(text, n_words, 10)
    assert [len(part.split()) for part in parts] == [10, 10, 3, 1]
    assert " ".join(parts) == text
    assert chunks("x" * 50, lambda text: 99, 10) == ["x" * 50]
    assert chunks("", n_words, 10) == [""]


def test_mean_and_minimum_are_of_the_sentences_own_scores(folder: str) -> None:
    parts = ["a b c.", "d e.", "f g h i j."]
    clip = ClipScore(folder)
    own = [clip.score([picture(1)], [prompt(part)])[0][0].value for part in parts]
    for name, expected in (("chunk_mean", sum(v or 0 for v in own) / 3), ("chunk_min", min(v or 0 for v in own))):
        metric = load_metric(f"clip_score.{name}", {"model": folder})
        [[score]] = metric.score([picture(1)], [prompt(" ".join(parts))])
        assert score.value == pytest.approx(expected, abs=1e-4)
        assert "'d e.'" in (score.reason or "")
        assert score.truncated is False
        assert metric.identity()["metric"] == f"clip_score.{name}"
    assert ChunkedClipScore("mean", folder).uses == clip.uses  # one image pass for all of them


def test_two_120_word_prompts_that_differ_late_get_different_scores(folder: str) -> None:
    texts = [" ".join(["a"] * 119 + [last]) for last in ("x.", "y.")]
    same = [ClipScore(folder).score([picture(1)], [prompt(text)])[0][0].value for text in texts]
    other = [ChunkedClipScore("mean", folder).score([picture(1)], [prompt(text)])[0][0].value for text in texts]
    assert same[0] == same[1]
    assert other[0] != other[1]


def test_long_clip_is_a_name_of_its_own_for_models_that_read_much(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads 16 tokens, expected a model that reads at least 248"):
        LongClipScore(folder)
    metric = LongClipScore(str(tiny_clip(tmp_path / "long", 248)))
    [[score]] = metric.score([picture(1)], [prompt(" ".join(["a"] * 120))])
    assert score.truncated is False
    assert metric.identity()["metric"] == "long_clip"


def test_pick_score_is_the_cosine_times_the_model_s_own_scale(folder: str) -> None:
    metric = load_metric("pick_score", {"model": folder, "processor": None})
    cosine = ClipScore(folder).score([picture(1)], [prompt("a cat")])[0][0].value or 0
    [[score]] = metric.score([picture(1)], [prompt("a cat")])
    assert score.value == pytest.approx(cosine / 100 * 14.2857, abs=1e-3)  # CLIP starts at 1 / 0.07
    assert metric.identity()["metric"] == "pick_score"
