"""Prompts of a drawn scene in three lengths, with the facts that they state."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import count, product
from typing import Literal

from benchmarks.suites.t2i_compbench import linguistics
from benchmarks.suites.t2i_compbench.protocol import ATTRIBUTES as COMPBENCH_ATTRIBUTES
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.dense import compose
from llm4gen_data.scenes.facts import Facts, ObjectFact, canonical_relations, facts_to_json, truth_facts
from llm4gen_data.scenes.phrases import FRONTED_RELATIONS
from llm4gen_data.scenes.sample import Scene, relations
from llm4gen_data.scenes.wording import Words, enumeration, units_of

# short: all objects with the attributes that the skill needs; medium: with all attributes; dense: 50 to 95 words.
Length = Literal["short", "medium", "dense"]


def listed_prompt(skill: str, side: str, scene: Scene, attributes: Sequence[str], relation: str | None) -> Prompt:
    """All objects with `attributes`, or two in relation; both sides choose their words by the same dice."""
    rng = random.Random(f"prompt-{skill}-{scene.seed}")
    units, words = units_of(scene), Words(rng)
    mentions = [words.noun_phrase(unit, attributes) for unit in units]
    text, stated = enumeration(mentions), []
    if relation is not None:
        text = f"{mentions[0]} {rng.choice(FRONTED_RELATIONS[relation])} {mentions[1]}"
        stated = [(i, relation, j) for i, j in product(units[0].members, units[1].members)]
    objects = tuple(ObjectFact(o.shape, **{name: getattr(o, name) for name in attributes}) for o in scene.objects)
    category = _category(skill)
    phrases = linguistics.Facts(category, 0, "written by the scene grammar", chunks=tuple(mentions))
    spec = {**json.loads(facts_to_json(Facts(objects, canonical_relations(stated)))), **json.loads(phrases.to_spec())}
    return Prompt(f"{scene.seed}-{skill}-{side}", text, category, len(text.split()), json.dumps(spec))


def told_prompt(skill: str, side: str, scene: Scene, twin: Scene) -> Prompt:
    """A dense caption, which states every object with all attributes; for `relation`, one that is false of `twin`.

    The two sides start from the same dice, but their wording may part where they differ.
    """
    elsewhere = set(relations(twin))
    for attempt in count():
        caption = compose(scene, random.Random(f"dense-{skill}-{scene.seed}-{attempt}"))
        if skill != "relation" or caption.relations - elsewhere:
            break
    stated = canonical_relations((r.subject, r.relation, r.object) for r in caption.relations)
    spec = facts_to_json(Facts(truth_facts(scene).objects, stated, scene.background))
    return Prompt(f"{scene.seed}-{skill}-{side}", caption.text, _category(skill), len(caption.text.split()), spec)


def _category(skill: str) -> str:
    # T2I-CompBench's VQA scorer asks for each phrase, whatever the prompt is about.
    return skill if skill in COMPBENCH_ATTRIBUTES else "color"
