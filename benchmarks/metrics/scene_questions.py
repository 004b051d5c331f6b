"""Questions about a drawn scene from the facts that its prompt states, in the words that vlm-mini was trained on."""

from __future__ import annotations

from collections import Counter

from benchmarks.metrics.questions import AskedQuestion
from llm4gen_data.scenes.facts import Facts, ObjectFact
from llm4gen_data.scenes.wording import NUMBER_WORDS, article, plural

ATTRIBUTES = ("color", "texture", "size")
RELATION_WORDS = {"left of": "to the left of", "right of": "to the right of"}  # the others are their own


def scene_questions(facts: Facts) -> list[AskedQuestion]:
    """Is each kind of object there, is it as stated, does it stand as stated, and how many objects are there.

    Equal objects share their questions; an object that cannot be named apart from another has none of its own.
    """
    asked: dict[str, AskedQuestion] = {}

    def ask(text: str, category: str, *parents: str) -> str:
        if text not in asked:
            asked[text] = AskedQuestion(f"q{len(asked) + 1:02d}", text, "yes", category, parents)
        return asked[text].question_id

    kinds = Counter(one for one in facts.objects if one.shape is not None)
    shapes = Counter(one.shape for one in kinds)
    names = {one: _name(one, shapes[one.shape] > 1) for one in kinds}
    alone = {one for one in kinds if list(names.values()).count(names[one]) == 1}
    parents = {}
    for one, name in names.items():
        parents[one] = ask(f"Is there {article(name)} {name} in the picture?", "existence")
    for one, n in kinds.items():
        if one not in alone:
            continue
        is_, name = ("Is", names[one]) if n == 1 else ("Are", plural(names[one]))
        for attribute in ATTRIBUTES:
            value = getattr(one, attribute)
            if value is not None and value not in names[one].split():
                ask(f"{is_} the {name} {value}?", attribute, parents[one])
    for a, relation, b in sorted(facts.relations):
        first, second = facts.objects[a], facts.objects[b]
        if first in alone and second in alone and first != second:
            is_ = "Is" if kinds[first] == 1 else "Are"
            words = RELATION_WORDS.get(relation, relation)
            subject, other = (names[one] if kinds[one] == 1 else plural(names[one]) for one in (first, second))
            ask(f"{is_} the {subject} {words} the {other}?", "relation", parents[first], parents[second])
    n_objects = len(facts.objects)
    if n_objects == 1:
        ask("Is there exactly one object in the picture?", "count")
    elif n_objects in NUMBER_WORDS:
        ask(f"Are there exactly {NUMBER_WORDS[n_objects]} objects in the picture?", "count")
    return list(asked.values())


def _name(one: ObjectFact, is_shared: bool) -> str:
    return f"{one.color} {one.shape}" if is_shared and one.color is not None else str(one.shape)
