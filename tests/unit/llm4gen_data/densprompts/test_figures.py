"""Figures, report, card and pictures of a small set, and the same set read back."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm4gen_data.densprompts.build import DensePrompt, build
from llm4gen_data.densprompts.card import card
from llm4gen_data.densprompts.clip_tokens import fewest_tokens, token_counts
from llm4gen_data.densprompts.coverage import coverage
from llm4gen_data.densprompts.diversity import diversity, sample_diversity
from llm4gen_data.densprompts.drawings import draw_lengths, draw_word_cloud
from llm4gen_data.densprompts.figures import figures, plan_shares
from llm4gen_data.densprompts.taxonomy import quotas
from llm4gen_data.errors import UserError
from llm4gen_model.family import BUNDLED

N = 40


@pytest.fixture(scope="module")
def made() -> list[DensePrompt]:
    return list(build(quotas(N), 4, Counter()))


@pytest.fixture(scope="module")
def content(made: list[DensePrompt]) -> dict[str, Any]:
    sha256 = {"prompts.jsonl": "ab" * 32}
    return {
        "n_rows": N,
        "writer": "grammar",
        "figures": figures(made),
        "rejects": {},
        "version": None,
        "sha256": sha256,
    }


def test_figures_add_up(made: list[DensePrompt], content: dict[str, Any]) -> None:
    told = content["figures"]
    for name in ("categories", "skills", "lengths", "cells", "histogram", "n_entities"):
        assert sum(told[name].values()) == N, name
    assert sum(told["question_kinds"].values()) == sum(told["question_skills"].values()) == told["n_questions"]
    assert sum(told["twin_kinds"].values()) == told["n_twins"] > 0
    assert told["plans"]["n_sentences"] == sum(len(dense.plans) for dense in made)
    white = sum("white" in dense.prompt.prompt.lower().replace("-", " ").split() for dense in made)
    assert told["color_shares"]["white"] >= white / N - 1e-4


def test_the_report_and_the_card_tell_them(made: list[DensePrompt], content: dict[str, Any]) -> None:
    report = coverage(content, quotas(N))
    for category, due in quotas(N).items():
        assert f"| {category} | {due} | {due} |" in report
    assert "Not compared with public sets" in report
    assert "Nothing." in report
    row = {"set": "dpg", "n_prompts": 1065, "similarity_max": 0.02, "n_too_near": 0, "n_quoted": 0}
    assert "| dpg | 1,065 | 0.020 | 0 | 0 |" in coverage({**content, "leakage": [row]}, quotas(N))
    text = card(made, content, 4)
    assert made[0].prompt.prompt in text
    assert "ab" * 32 in text
    assert "license: apache-2.0" in text


def test_plan_shares_are_of_sentences() -> None:
    assert plan_shares([("a", "b"), ("a",), ()]) == {
        "n_sentences": 3,
        "n_plans": 2,
        "shares": {"a": 0.6667, "b": 0.3333},
    }
    assert plan_shares([()])["n_plans"] == 0


def test_diversity_of_known_texts() -> None:
    assert sample_diversity(["a b a b", "a b"])["distinct_words"] == 2
    assert sample_diversity(["a b a b", "a b"])["distinct_2"] == 0.5


def test_diversity_is_of_samples_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm4gen_data.densprompts.diversity.SAMPLE_WORDS", 1000)
    rng = random.Random(0)
    words = [f"w{n}" for n in range(50)]
    prompts = [" ".join(rng.choices(words, k=100)) for _ in range(40)]
    told = diversity(prompts)
    assert (told["n_samples"], told["sample_words"]) == (5, 1000)
    assert told["mean"]["distinct_words"] == 50
    assert told["worst"]["zlib_ratio"] >= told["mean"]["zlib_ratio"] > 1
    assert told == diversity(prompts)
    assert diversity(prompts[:10])["n_samples"] == 1


def test_clip_tokens_are_never_fewer_than_the_bound(made: list[DensePrompt], tmp_path: Path) -> None:
    assert fewest_tokens('A cat\'s 12 toys, "OPEN"!') == 2 + len(
        ["a", "cat", "'s", "1", "2", "toys", ",", '"', "open", '"!']
    )
    prompts = [dense.prompt.prompt for dense in made]
    exact = token_counts(prompts, str(BUNDLED / "clip-mini"))
    assert all(n >= fewest_tokens(prompt) for n, prompt in zip(exact, prompts, strict=True))
    with pytest.raises(UserError, match="cannot be loaded"):
        token_counts(prompts, str(tmp_path))


def test_pictures_are_drawn_and_equal_each_time(made: list[DensePrompt], tmp_path: Path) -> None:
    prompts = [dense.prompt.prompt for dense in made]
    for name in ("a", "b"):
        draw_word_cloud(prompts, tmp_path / name / "words.png")
        draw_lengths([dense.prompt.n_words for dense in made], tmp_path / name / "lengths.png")
    for file in ("words.png", "lengths.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        with Image.open(tmp_path / "a" / file) as picture:
            assert len(picture.convert("RGB").getcolors(2**24) or ()) > 3
