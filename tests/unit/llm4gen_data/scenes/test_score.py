from __future__ import annotations

import random

import pytest

from llm4gen_data.scenes.describe import dense_caption, short_caption
from llm4gen_data.scenes.facts import KINDS
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.score import FactScore, caption_scores, format_scores, nameable_relation_score

SCENES = [sample_scene(seed) for seed in range(40)]


def test_a_true_caption_scores_high_and_that_of_another_scene_low() -> None:
    dense = [dense_caption(scene, random.Random(scene.seed)) for scene in SCENES]
    scores = caption_scores(SCENES, dense)
    assert tuple(scores) == KINDS
    for kind, score in scores.items():
        assert (score.precision or 0) > 0.95, kind
        assert (score.recall or 0) > (0.3 if kind == "relation" else 0.95), kind  # not every relation is told
    others = caption_scores(SCENES, [*dense[1:], dense[0]])
    assert all((others[kind].precision or 0) < 0.6 for kind in ("color", "texture", "relation"))


def test_what_is_not_said_costs_recall_and_not_precision() -> None:
    short = [short_caption(scene, random.Random(scene.seed)) for scene in SCENES]
    scores = caption_scores(SCENES, short)
    assert (scores["object"].precision or 0) > 0.95
    assert (scores["texture"].recall or 0) < 0.2


def test_a_missing_caption_claims_nothing() -> None:
    scores = caption_scores(SCENES[:3], [None, "", "IMG_2031.jpg"])
    assert {score.n_claimed for score in scores.values()} == {0}
    assert scores["object"] == FactScore(
        n_true=sum(len(scene.objects) for scene in SCENES[:3]), n_claimed=0, n_right=0
    )
    assert (scores["object"].precision, scores["object"].recall) == (None, 0.0)


def test_the_table_names_columns_kinds_and_what_is_absent() -> None:
    some, none = (
        {kind: FactScore(4, 2, 1) for kind in KINDS},
        {kind: FactScore(4, 0, 0) for kind in KINDS},
    )
    table = format_scores({"alt text": none, "caption": some}).splitlines()
    assert len({len(line) for line in table[2:]}) == 1
    assert table[2].split() == ["object", "-", "0.000", "0.500", "0.250", "4"]
    assert "alt text" in table[0]
    assert "caption" in table[0]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        caption_scores(SCENES[:2], ["one"])


def test_relations_that_words_can_tell_are_fewer_than_all() -> None:
    dense = [dense_caption(scene, random.Random(scene.seed)) for scene in SCENES]
    told, every = nameable_relation_score(SCENES, dense), caption_scores(SCENES, dense)["relation"]
    assert told.n_true < every.n_true
    assert (told.recall or 0) > (every.recall or 0)
    assert (told.precision or 0) > 0.95


def test_f1_is_the_harmonic_mean() -> None:
    assert FactScore(n_true=4, n_claimed=2, n_right=1).f1 == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert FactScore(0, 0, 0).f1 is None
