"""The prompt set `scenes`: all categories, and specs that say what the texts say."""

from collections import Counter
from itertools import pairwise

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.facts import (
    Facts,
    ObjectFact,
    caption_facts,
    compare,
    facts_from_json,
    facts_to_json,
    truth_facts,
)
from llm4gen_data.scenes.prompts import CATEGORIES, scene_prompts
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import HELD_OUT_SYNONYMS, is_held_out


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return scene_prompts(250, seed=3)


def spec(prompt: Prompt) -> Facts:
    assert prompt.spec is not None
    return facts_from_json(prompt.spec)


def test_any_number_has_the_categories_in_turn(prompts: list[Prompt]) -> None:
    assert Counter(p.category for p in prompts) == dict.fromkeys(CATEGORIES, 50)
    assert all(a.category != b.category for a, b in pairwise(prompts))
    assert scene_prompts(7, seed=3) == prompts[:7]
    assert len({p.prompt_id for p in prompts}) == len({p.prompt for p in prompts}) == 250
    assert not {p.prompt for p in prompts} & {p.prompt for p in scene_prompts(50, seed=4) if p.n_words > 20}


def test_texts_state_the_spec_and_nothing_else(prompts: list[Prompt]) -> None:
    for prompt in prompts:
        facts = spec(prompt)
        for kind, counts in compare(caption_facts(prompt.prompt), facts).items():
            assert counts.false_positive == counts.false_negative == 0, (kind, prompt.prompt)
        assert prompt.n_words == len(prompt.prompt.split())


def test_categories_hold_what_they_promise(prompts: list[Prompt]) -> None:
    held_out_words = {word for words in HELD_OUT_SYNONYMS.values() for word in words}
    for prompt in prompts:
        facts = spec(prompt)
        unseen = [o for o in facts.objects if is_held_out(str(o.shape), str(o.color), str(o.texture))]
        assert bool(unseen) == (prompt.category == "unseen pair")
        told = any(word in prompt.prompt for word in held_out_words)
        assert told or prompt.category != "unseen words"
        if prompt.category in ("one object", "two objects"):
            assert len(facts.objects) == (1 if prompt.category == "one object" else 2)
            assert facts.background is None
        else:
            assert 2 <= len(facts.objects) <= 4
            assert facts.background is not None


def test_facts_survive_json() -> None:
    for seed in range(30):
        facts = truth_facts(sample_scene(seed))
        assert facts_from_json(facts_to_json(facts)) == facts
    bare = Facts((ObjectFact("star"),))
    assert facts_from_json(facts_to_json(bare)) == bare


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"objects": [{"form": "star"}], "relations": [], "background": null}',
        '{"objects": [], "relations": [[0, "above", 1]], "background": null}',
    ],
)
def test_what_is_no_facts_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not the facts of a scene"):
        facts_from_json(text)
