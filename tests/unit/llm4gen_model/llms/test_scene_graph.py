import random

import torch

from llm4gen_data.prompts import load_prompts
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.facts import Facts, ObjectFact, caption_facts
from llm4gen_data.scenes.sample import counterfactuals, sample_scene
from llm4gen_model.llm import LLMSettings, load_llm, settings_of
from llm4gen_model.llms.scene_graph import SCALE, WIDTH, SceneGraph, graph_tokens


def test_a_text_is_a_start_and_one_token_a_fact() -> None:
    (tokens,) = load_llm("scene-graph").encode(["A small red circle left of a large blue square."])
    assert tokens.shape == (1 + 2 + 1, WIDTH)
    assert tokens.dtype == torch.float32
    assert set(tokens.flatten().tolist()) <= {0.0, torch.tensor(SCALE, dtype=torch.float32).item()}


def test_texts_that_say_the_same_have_the_same_tokens_whatever_the_words() -> None:
    llm = SceneGraph(LLMSettings())
    seen, unseen = llm.encode(["a small red circle", "a petite crimson roundel"])
    assert torch.equal(seen, unseen)


def test_colours_exchanged_are_other_tokens() -> None:
    scene = next(s for s in map(sample_scene, range(100)) if "colors_swapped" in counterfactuals(s))
    twin = counterfactuals(scene)["colors_swapped"]
    a, b = (graph_tokens(caption_facts(dense_caption(s, random.Random(0)))) for s in (scene, twin))
    assert a.shape != b.shape or not torch.equal(a, b)


def test_every_dense_prompt_is_read_whole() -> None:
    for prompt in load_prompts("bindings", n=20):
        tokens = SceneGraph(LLMSettings()).encode([prompt.prompt])[0]
        assert 3 < len(tokens) <= 20


def test_a_text_about_nothing_drawn_is_its_start_alone() -> None:
    llm = SceneGraph(LLMSettings())
    nothing, other = llm.encode(["", "the annual report"])
    assert nothing.shape == (1, WIDTH)
    assert torch.equal(nothing, other)
    assert llm.token_spans("") == [None]


def test_it_is_cut_and_knows_so() -> None:
    llm = SceneGraph(LLMSettings(max_tokens=2))
    assert llm.encode(["a red circle and a blue square"])[0].shape == (2, WIDTH)
    assert settings_of(llm.identity()).max_tokens == 2


def test_more_objects_than_have_numbers_are_left_out() -> None:
    facts = Facts(tuple(ObjectFact("circle") for _ in range(9)), frozenset({(0, "above", 8)}))
    assert graph_tokens(facts).shape == (1 + 8, WIDTH)
