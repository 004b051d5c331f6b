"""The prompt set `scenes`: texts that ask for scenes, each with the facts that a picture of it must show."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, product

from llm4gen_data.records import Prompt
from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.dense import compose
from llm4gen_data.scenes.facts import Facts, ObjectFact, canonical_relations, facts_to_json, truth_facts
from llm4gen_data.scenes.sample import Scene, Split, sample_scene
from llm4gen_data.scenes.wording import ATTRIBUTES, Words, enumeration, unit_relations, units_of

# Far from the seeds of any training set, so that no prompt asks for a scene that a model has seen.
FIRST_SCENE_SEED = 900_000_000_000
FIRST_BINDING_SEED = 910_000_000_000
SCENES_PER_CATEGORY = 1_000_000
# The vocabulary has some 1,100 kinds of object; when a set needs more, prompts may repeat.
MAX_REDRAWS = 200


@dataclass(frozen=True, slots=True)
class Category:
    """Which scenes a category asks for, and how: `write` gives the prompt and the facts that it states."""

    split: Split
    min_objects: int
    max_objects: int
    write: Callable[[Scene, random.Random], tuple[str, Facts]]


def scene_prompts(n: int = 250, seed: int = 0) -> list[Prompt]:
    """`n` prompts, the five categories in turn; those of a smaller `n` are the first ones of a larger.

    `spec` is `facts_to_json` of what the prompt asks for: every object with all attributes, and the relations and
    the background that the text names (others are free). All texts state the truth of a drawn scene.
    """
    return _in_turn("scenes", CATEGORIES, FIRST_SCENE_SEED, n, seed)


def binding_prompts(n: int = 250, seed: int = 0) -> list[Prompt]:
    """As `scene_prompts`, of categories with 3 and 4 objects, where it is hard to keep apart what belongs to what."""
    return _in_turn("bindings", BINDING_CATEGORIES, FIRST_BINDING_SEED, n, seed)


def _in_turn(name: str, categories: Mapping[str, Category], first_seed: int, n: int, seed: int) -> list[Prompt]:
    first = first_seed + seed * len(categories) * SCENES_PER_CATEGORY
    seeds = {category: count(first + i * SCENES_PER_CATEGORY) for i, category in enumerate(categories)}
    seen: set[str] = set()
    prompts = []
    for index in range(n):
        category = list(categories)[index % len(categories)]
        for _ in range(MAX_REDRAWS):
            text, facts = _draw(category, categories[category], seeds[category])
            if text not in seen:
                break
        seen.add(text)
        prompts.append(Prompt(f"{name}-{seed}-{index:05d}", text, category, len(text.split()), facts_to_json(facts)))
    return prompts


def _draw(category: str, wanted: Category, seeds: count[int]) -> tuple[str, Facts]:
    """The prompt of the next seed whose scene fits the category."""
    for seed in seeds:
        scene = sample_scene(seed, split=wanted.split)
        if wanted.min_objects <= len(scene.objects) <= wanted.max_objects:
            return wanted.write(scene, random.Random(f"prompt-{category}-{seed}"))
    raise AssertionError("seeds do not end")


def _phrase(scene: Scene, rng: random.Random) -> tuple[str, Facts]:
    """ "a small red striped circle above a large teal star": all attributes, one relation if one holds."""
    units, words = units_of(scene), Words(rng)
    mentions = [words.noun_phrase(unit, ATTRIBUTES) for unit in units]
    stated: list[tuple[int, str, int]] = []
    text = " and ".join(mentions)
    related = unit_relations(scene, units).get((0, 1))
    if related:
        relation = rng.choice(related)
        text = f"{mentions[0]} {rng.choice(phrases.FRONTED_RELATIONS[relation])} {mentions[1]}"
        stated = [(i, relation, j) for i, j in product(units[0].members, units[1].members)]
    return text, Facts(truth_facts(scene).objects, canonical_relations(stated))


def _listed(scene: Scene, rng: random.Random) -> tuple[str, Facts]:
    """ "a red circle, a blue star and two teal hearts": colours alone, so short that CLIP reads all of it."""
    units, words = units_of(scene), Words(rng)
    text = enumeration([words.noun_phrase(unit, ["color"]) for unit in units])
    return text, Facts(tuple(ObjectFact(o.shape, o.color) for o in scene.objects))


def _dense(scene: Scene, rng: random.Random) -> tuple[str, Facts]:
    return _composed(scene, rng, held_out_synonyms=False)


def _dense_in_unseen_words(scene: Scene, rng: random.Random) -> tuple[str, Facts]:
    return _composed(scene, rng, held_out_synonyms=True)


def _composed(scene: Scene, rng: random.Random, *, held_out_synonyms: bool) -> tuple[str, Facts]:
    """A dense caption; it names every object, every attribute, the background and some relations."""
    caption = compose(scene, rng, held_out_synonyms=held_out_synonyms)
    stated = canonical_relations((r.subject, r.relation, r.object) for r in caption.relations)
    return caption.text, Facts(truth_facts(scene).objects, stated, scene.background)


CATEGORIES = {
    "one object": Category("train", 1, 1, _phrase),
    "two objects": Category("train", 2, 2, _phrase),
    "dense": Category("train", 2, 4, _dense),
    "unseen pair": Category("unseen", 2, 4, _dense),
    "unseen words": Category("train", 2, 4, _dense_in_unseen_words),
}

BINDING_CATEGORIES = {
    "short": Category("train", 3, 4, _listed),
    "dense": Category("train", 3, 4, _dense),
    "unseen pair": Category("unseen", 3, 4, _dense),
    "unseen words": Category("train", 3, 4, _dense_in_unseen_words),
    "two objects": Category("train", 2, 2, _dense),
}
