from dataclasses import replace

from benchmarks.suites.suite import splits_of
from benchmarks.suites.t2i_compbench.linguistics import Facts
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.prompts import scene_prompts


def test_scenes_are_split_by_held_out_pairs_and_words() -> None:
    prompts = scene_prompts(50)
    splits = splits_of("scenes", prompts)
    unseen = {prompt.category for prompt in prompts if splits[prompt.prompt_id] == "unseen"}
    seen = {prompt.category for prompt in prompts if splits[prompt.prompt_id] == "seen"}
    assert unseen == {"unseen pair", "unseen words"}
    assert seen == {"one object", "two objects", "dense"}
    renamed = [replace(prompt, category="mine") for prompt in prompts if prompt.category == "unseen pair"]
    assert set(splits_of("scenes", renamed).values()) == {"unseen"}  # by the facts, whatever the category is called
    assert splits_of("scenes", [replace(prompts[0], spec=None), replace(prompts[1], spec="[]")]) == {
        prompts[0].prompt_id: None,
        prompts[1].prompt_id: None,
    }


def test_t2i_compbench_is_split_by_its_files() -> None:
    specs = {split: Facts("color", 0, "spaCy", chunks=("a cat",), split=split) for split in ("seen", "unseen", None)}
    prompts = [Prompt(str(split), "a cat", "color", 2, facts.to_spec()) for split, facts in specs.items()]
    prompts.append(Prompt("mine", "a cat", "color", 2, None))
    found = splits_of("t2i-compbench@2025-09/official", prompts)
    assert found == {"seen": "seen", "unseen": "unseen", "None": None, "mine": None}


def test_a_suite_without_split_has_none() -> None:
    assert splits_of("densprompts", scene_prompts(3)) == {}
