from pathlib import Path

import pytest

import llm4gen_model
from llm4gen_data.scenes.facts import KINDS
from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini.evaluate_vlm import evaluate, score_facts
from pipelines.mini.vlm_card import model_card

BUNDLED = Path(llm4gen_model.__file__).parent / "bundled" / "vlm-mini"


def test_facts_are_counted_over_all_scenes() -> None:
    scene = sample_scene(0)
    shape = scene.objects[0].shape
    scores = score_facts([scene, scene], [f"There is a {shape}.", ""])
    recall = 0.5 / len(scene.objects)
    f1 = 2 * recall / (1 + recall)
    assert scores["object"] == {"precision": 1.0, "recall": pytest.approx(recall), "f1": pytest.approx(f1)}


def test_the_card_holds_every_table() -> None:
    facts = {kind: {"precision": 0.9, "recall": 0.5, "f1": 0.643} for kind in KINDS}
    told = {"facts": facts, "nameable_relations": facts["relation"]}
    caption = {**told, "mean_words": 60.0, "ended": 1.0, "captions": ["A red circle."]}
    split = {
        "n_scenes": 3,
        "captions": dict.fromkeys(("dense", "medium", "short"), caption),
        "questions": {"all": {"accuracy": 0.97, "n": 30}},
        "twins": {"picture mirrored": {"accuracy": 0.95, "both": 0.9, "n": 20}},
        "grammar": {"dense": told, "telling": told},
    }
    stage = {"name": "caption", "steps": 7, "batch_size": 24, "minutes": 2.0, "learning_rates": [0.001, 0.002]}
    training = {
        **dict.fromkeys(("n_scenes", "seed", "vision_width", "text_width", "text_layers", "vocab_size"), 8),
        "date": "2026-01-01",
        "parameters": 1_500_000,
        "stages": [{**stage, "threads": 1}],
        "notes": ["It was stopped once."],
    }
    card = model_card(training, {"train": split, "unseen": split})
    assert "| nameable relation | 0.900 / 0.500 / 0.643 |" in card
    assert "| picture mirrored | 95.0% / 90.0% of 10 | 95.0% / 90.0% of 10 |" in card
    assert "- stage caption: 7 steps of 24 scenes, 2 minutes, CPU threads 1, " in card
    assert "It was stopped once." in card


def test_bundled_model_sees_what_is_there() -> None:
    measured = evaluate(BUNDLED, 12, "train")
    for name in ("short", "medium", "dense"):
        for kind in ("object", "color"):
            assert measured["captions"][name]["facts"][kind]["recall"] > 0.8
    assert measured["captions"]["dense"]["facts"]["relation"]["f1"] > 0.4
    assert measured["captions"]["dense"]["mean_words"] > 50
    assert measured["captions"]["dense"]["ended"] == 1.0
    assert measured["questions"]["all"]["accuracy"] > 0.95
    assert measured["questions"]["relation"]["accuracy"] > 0.95
    assert measured["twins"]["all"]["both"] > 0.9
