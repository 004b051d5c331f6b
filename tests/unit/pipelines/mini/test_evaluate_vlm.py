from pathlib import Path

import pytest

import llm4gen_model
from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini.evaluate_vlm import evaluate, score_facts

BUNDLED = Path(llm4gen_model.__file__).parent / "bundled" / "vlm-mini"


def test_facts_are_counted_over_all_scenes() -> None:
    scene = sample_scene(0)
    shape = scene.objects[0].shape
    scores = score_facts([scene, scene], [f"There is a {shape}.", ""])
    assert scores["object"] == {"precision": 1.0, "recall": pytest.approx(0.5 / len(scene.objects))}


def test_bundled_model_sees_what_is_there() -> None:
    measured = evaluate(BUNDLED, 12, "train")
    for name in ("short", "medium"):
        assert measured["captions"][name]["facts"]["object"]["recall"] > 0.8
        assert measured["captions"][name]["facts"]["color"]["recall"] > 0.8
    assert measured["captions"]["dense"]["mean_words"] > 50
    assert measured["captions"]["dense"]["ended"] == 1.0
    assert measured["questions"]["all"]["accuracy"] > 0.75
