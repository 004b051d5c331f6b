from llm4gen_data.prompts import load_prompts
from llm4gen_data.scenes.facts import caption_facts, facts_from_json
from llm4gen_data.scenes.prompts import BINDING_CATEGORIES


def test_categories_come_in_turn_with_what_they_promise() -> None:
    prompts = load_prompts("bindings", n=50, seed=3)
    assert [prompt.category for prompt in prompts[:5]] == list(BINDING_CATEGORIES)
    assert len({prompt.prompt for prompt in prompts}) == 50
    assert load_prompts("bindings", n=5, seed=3) == prompts[:5]
    for prompt in prompts:
        facts = facts_from_json(prompt.spec or "")
        wanted = BINDING_CATEGORIES[prompt.category]
        assert wanted.min_objects <= len(facts.objects) <= wanted.max_objects
        claimed = caption_facts(prompt.prompt)
        assert sorted((o.shape, o.color) for o in claimed.objects) == sorted((o.shape, o.color) for o in facts.objects)
        if prompt.category == "short":
            assert prompt.n_words < 25
            assert {o.texture for o in facts.objects} == {None}
