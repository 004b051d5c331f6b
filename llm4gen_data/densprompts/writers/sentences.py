"""What is left to say of things that are known: their color, parts, clothes and doings, and how they compare."""

from __future__ import annotations

import re

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.spec import Relation
from llm4gen_data.densprompts.writers.draft import Draft
from llm4gen_data.densprompts.writers.plans import FACTS, Plans, fields_of, possible, render, tell

MISSING: Plans = (
    "{subj} {is} {color}",
    "{ref} {is} {color}",
    "{subj} {is} made of {material}",
    "{ref} {is} made of {material}",
    "{subj} {is} made of {color} {material}",
    "{subj} {is} {color} and made of {material}",
    "{subj} {v:have} {part}",
    "{ref} {v:have} {part}",
    "{ref} {v:have} {part}",
    "{subj} {is} {color}, with {part}",
    "{subj} {v:have} {part} and {is} {color}",
    "{subj} {is} made of {material}, with {part}",
    "made of {material}, {subj} {v:have} {part}",
    "what sets {ref} apart is {part}",
    "one can see {part} on {ref}",
    "one notices {part} on {ref}",
    "a closer look at {ref} shows {part}",
    "{subj} {does}",
    "{subj} {is} {doing}",
    "{ref} {does}",
    "{subj} {is} {color} and {is} {doing}",
    "{subj} {v:have} {part} and {does}",
    "{ref}, {doing}, {v:have} {part}",
    "with {part}, {ref} {is} {doing}",
)
# Only of things: "one can see floppy ears on the dog" is nothing to say of an animal; and only of parts that do not
# say themselves where they are, like "a wedge of lemon on the side".
_OF_THINGS = ("one can see {part} on {ref}", "one notices {part} on {ref}", "what sets {ref} apart is {part}")
_HAS_PLACE = re.compile(r"\b(?:on|under|underneath|around|at|inside|below|above|along|behind|between|over|of|to|in)\b")
# Only of what one can hold: nobody looks closer at a tower.
_OF_SMALL_THINGS = ("a closer look at {ref} shows {part}",)
# What is left of two things in one sentence.
MISSING_OF_TWO = (
    "{ref} {is} {doing}, and {ref2} {does2}",
    "{ref} {does}, while {ref2} {is2} {doing2}",
    "while {ref} {is} {doing}, {ref2} {does2}",
    "{ref} {does}; {ref2} {is2} {doing2}",
    "{ref} {is} {doing}, {ref2} {doing2}",
    "{ref} {is} {color}, {ref2} {color2}",
    "{ref} {is} {color}, while {ref2} {is2} {color2}",
    "{ref} {is} {color}, and {ref2} {is2} {color2}",
    "{ref} {is} made of {material}, {ref2} of {material2}",
    "{ref} {is} made of {material}, and {ref2} {is2} {color2}",
    "{ref} {is} {color}, and {ref2} {does2}",
)
WORN: Plans = (
    "{subj} {v:wear} {np2}",
    "{subj} {is} dressed in {np2}",
    "{subj} {v:have} {np2} on",
    "{ref} {v:wear} {np2}",
    "{subj} {v:wear} {np2} and {is} {doing}",
    "{subj} {is} dressed in {np2} and {does}",
    "dressed in {np2}, {ref} {is} {doing}",
    "wearing {np2}, {ref} {does}",
)
HELD: Plans = (
    "{subj} {v:hold} {np2}",
    "{subj} {v:hold} {np2} in both hands",
    "{subj} {v:carry} {np2}",
    "{np2} rests in {poss} hands",
    "{ref} {v:hold} {np2}",
    "{subj} {is} holding {np2}",
    "{subj} {v:hold} {np2} and {is} {doing}",
)
MORE = (
    "{subj} outnumber {ref2}",
    "there are more {nouns} than {nouns2}",
    "one counts more {nouns} than {nouns2}",
    "{ref} outnumber {ref2}",
)
LARGER = (
    "{subj} {is} {than} {ref2}",
    "{subj} {is} clearly {than} {ref2}",
    "{subj} {is} a little {than} {ref2}",
    "{subj} {v:look} {than} {ref2}",
    "{subj} {is} visibly {than} {ref2}",
    "side by side, {ref} {is} {than} {ref2}",
    "seen together, {ref} {is} {than} {ref2}",
    "{subj} {is} slightly {than} {ref2}",
    "{subj} {is} noticeably {than} {ref2}",
    "{ref} {is} plainly {than} {ref2}",
)
SAME_COLOR = (
    "{subj} {is} the same color as {ref2}",
    "{subj} {v:have} the same color as {ref2}",
)


def say_owned(draft: Draft, person: int) -> None:
    """What a person wears and holds, as far as it has not been said."""
    for relation in draft.spec.relations:
        if relation.subject == person and relation.name in (rel.WEARING, rel.HOLDING) and relation not in draft.said:
            draft.said.add(relation)
            plans = WORN if relation.name == rel.WEARING else HELD
            # "Her" hands are hers who was told last.
            plans = tuple(plan for plan in plans if ("{ref}" if draft.last == person else "{poss}") not in plan)
            tell(draft, plans, person, relation.object, topic=person)


def say_missing(draft: Draft, i: int) -> None:
    """Color, material, part and action of entity `i` that have not been said, in few sentences."""
    if not draft.acts(i) and not any(draft.missing(i, fact) for fact in FACTS):
        return
    plans = MISSING
    noun, part = draft.lexeme(i), draft.entity(i).part or ""
    if noun.kind not in ("object", "food", "building", "vehicle") or _HAS_PLACE.search(part):
        plans = tuple(plan for plan in plans if plan not in _OF_THINGS)
    if noun.kind not in ("object", "food") or noun.where != "surface":
        plans = tuple(plan for plan in plans if plan not in _OF_SMALL_THINGS)
    # A name that the sentence before ends on would be repeated.
    plans = tuple(plan for plan in plans if draft.last != i or "{ref}" not in plan)
    while fitting := possible(draft, plans, i):
        facts = {plan: len(fields_of(plan) & {"color", "material", "part", "does", "doing"}) for plan in fitting}
        most = max(facts.values())
        tell(draft, [plan for plan in fitting if facts[plan] == most], i, topic=i)


def say_missing_of_two(draft: Draft) -> None:
    """What is left of two things in one sentence, as often as there are two that lack the like."""
    while True:
        left = [i for i in draft.told if draft.acts(i) or any(draft.missing(i, fact) for fact in FACTS)]
        pairs = [(i, j) for i in left for j in left if i != j and possible(draft, MISSING_OF_TWO, i, j)]
        if not pairs:
            return
        i, j = draft.rng.choice(pairs)
        tell(draft, MISSING_OF_TWO, i, j)


def say_relation(draft: Draft, relation: Relation) -> None:
    """A comparison of two known things, or an interaction that is still to be said."""
    a, b = relation.subject, relation.object
    if relation.name in rel.INTERACTIONS:
        say_missing(draft, a)
        return
    draft.said.add(relation)
    if relation.name == "more numerous than":
        tell(draft, MORE, a, b)
    elif relation.name == "same color as":
        tell(draft, SAME_COLOR, a, b, topic=a)
    else:
        than = draft.rng.choice(rel.COMPARISONS[relation.name])
        plan = draft.choose(LARGER)
        draft.say(render(draft, plan.replace("{than}", than), a, b), plan, topic=a)


def can_compare(draft: Draft, relation: Relation) -> bool:
    """Whether both things of a relation that is not spatial are known and it has yet to be said."""
    known = relation.subject in draft.told and relation.object in draft.told
    return known and relation not in draft.said and relation.name in rel.COMPARISONS
