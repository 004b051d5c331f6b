"""First sentences: each brings in the main thing and where it is, some with light, style, view or other things."""

from __future__ import annotations

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import enumeration
from llm4gen_data.densprompts.spec import Relation
from llm4gen_data.densprompts.writers.draft import OWNED, Draft
from llm4gen_data.densprompts.writers.phrases import noun_phrase
from llm4gen_data.densprompts.writers.plans import possible, render

# Plans by what they need; those that stand several times are drawn so much oftener.
STANDING = (
    *("{np} {verb} {setting}",) * 4,
    *("{setting} {verb} {np}",) * 4,
    "{np} {setting}",
    "{setting}, there {is} {np}",
    "{setting} there {is} {np}",
    "{setting} one finds {np}",
    "{np} can be seen {setting}",
    "{setting}, {np} {v:draw} the eye",
    "{np} {is} the center of attention {setting}",
    "the main subject is {np} {setting}",
    "the scene is set {setting}, where {np} {verb}",
    "{ground} has {np} as its main subject",
    "{ground} is the setting for {np}",
    "everything here revolves around {np} {setting}",
    "{setting}, the first thing one sees is {np}",
)
ACTING = (
    "{np} {does} {setting}",
    "{setting}, {np} {does}",
    "{setting}, {np} {is} {doing}",
    "{np} {verb} {setting}, {doing}",
    "{setting} {verb} {np}, {doing}",
    "{np}, {doing}, {v:draw} the eye {setting}",
    "the scene is set {setting}, where {np} {does}",
    "the view opens on {ground}, where {np} {is} {doing}",
    "everything takes place {setting}, where {np} {does}",
    "{setting}, there {is} {np} {doing}",
    "this is {ground}, and in the middle of it {is} {np}, {doing}",
)
DETAILED = (
    "{setting}, {detail}, and there {is} {np}",
    "{setting}, {detail}. here {verb} {np}",
    "{setting}, {detail}. amid all this {verb} {np}",
    "{setting}, where {detail}, {verb} {np}",
    "{np} {verb} {setting}, where {detail}",
    "this is {ground}, where {detail}. at the heart of it {verb} {np}",
)
ACTING_DETAILED = (
    "{setting}, {detail}, and {np} {does}",
    "{setting}, {detail}. here {np} {does}",
    "{setting}, where {detail}, {np} {is} {doing}",
    "{setting}, {np} {does} while {detail}",
    "{np} {does} {setting}, where {detail}",
    "this is {ground}, where {detail}. {np} {does} there",
)
LIT = (
    "{light} falls over {ground}, where {np} {verb}",
    "{light} spreads over {ground}, where {np} {verb}",
    "in {light}, {np} {verb} {setting}",
    "{setting}, {light} falls on {np}",
    "{np} {verb} {setting} in {light}",
)
ACTING_LIT = (
    "{light} settles over {ground}, where {np} {does}",
    "in {light}, {np} {does} {setting}",
    "under {light}, {np} {is} {doing} {setting}",
    "{setting}, in {light}, {np} {does}",
    "{np} {does} {setting}, bathed in {light}",
    "{light} falls across {ground}, where {np} {is} {doing}",
)
VIEWED = (
    "{view}, {np} {verb} {setting}",
    "{setting} {verb} {np}, {view}",
    "{view}, {ground} has {np} in its midst",
)
ACTING_VIEWED = (
    "{view}, {np} {does} {setting}",
    "{setting}, {view}, {np} {does}",
    "{view}, {np} {is} {doing} {setting}",
)
STYLED = (
    "{style} shows {np} {setting}",
    "{style} of {np} {setting}",
    "in this {bare_style}, {np} {verb} {setting}",
    "{style} of {ground}, where {np} {verb}",
    "the subject of the {bare_style} is {np} {setting}",
    "the {bare_style} is of {np} {setting}",
    "{style} presents {ground} and, in it, {np}",
)
ACTING_STYLED = (
    "{style} depicts {np} {doing} {setting}",
    "{style} of {np} {doing} {setting}",
    "in this {bare_style}, {np} {does} {setting}",
    "{style} shows {ground}, where {np} {does}",
    "{style} in which {np} {does} {setting}",
    "the {bare_style} shows {np} {setting}, {doing}",
    "{style} takes in {ground}, where {np} {is} {doing}",
)
RELATED = ("{where2} {setting} {verb2} {np2}", "{np2} {verb2} {where2} {setting}", "{setting}, {np2} {verb2} {where2}")
INVENTORIES = (
    "{list} share {ground}",
    "{list} are brought together {setting}",
    "{setting}, {list} make up the scene",
    "{list} are arranged {setting}",
    "{setting} one finds {list}",
    "{ground} brings together {list}",
    "{ground} holds {list}",
)


def open_draft(draft: Draft) -> None:
    """Say one of the openings that the specification allows."""
    spec, rng = draft.spec, draft.rng
    weights = {"plain": 5.0, "detailed": 3.0, "lit": 5.0 if spec.light else 0, "viewed": 5.0 if spec.view else 0}
    weights["styled"] = (8.0 if spec.category == "art and illustration" else 5.0) if spec.style else 0
    weights["related"] = 1.5 if _relation_to_main(draft) else 0
    weights["inventory"] = 1.5 if len(_members(draft)) > 2 else 0
    kind = rng.choices(list(weights), list(weights.values()))[0]
    if kind == "inventory":
        _inventory(draft)
    elif kind == "related":
        _by_relation(draft)
    else:
        tables = {
            "plain": (STANDING, ACTING),
            "detailed": (DETAILED, ACTING_DETAILED),
            "lit": (LIT, ACTING_LIT),
            "viewed": (VIEWED, ACTING_VIEWED),
            "styled": (STYLED, ACTING_STYLED),
        }
        standing, acting = (possible(draft, table, 0) for table in tables[kind])
        if acting and rng.random() < 0.85:
            standing = acting
        if not standing:
            standing = possible(draft, (*STANDING, *ACTING), 0)
        plan = draft.choose(standing)
        # Some plans are of two sentences.
        for sentence, part in zip(render(draft, plan, 0).split(". "), plan.split(". "), strict=True):
            draft.say(sentence, part, topic=0)
    draft.may_extend = draft.last is not None


def _by_relation(draft: Draft) -> None:
    """ "Behind a shaggy dog in a small kitchen stands a blue vase"."""
    relation = _relation_to_main(draft)
    if relation is None:
        raise LookupError("nothing stands by the main thing")
    draft.said.add(relation)
    main = draft.rng.choice(rel.SPATIAL[relation.name]).format(ref=noun_phrase(draft, 0))
    plan = draft.choose(RELATED)
    sentence = render(draft, plan.replace("{where2}", "\x00").replace("2", ""), relation.subject)
    draft.say(sentence.replace("\x00", main), plan, topic=relation.subject)


def _relation_to_main(draft: Draft) -> Relation | None:
    """A relation by which another thing can be brought in together with the main one."""
    for relation in draft.spec.relations:
        if relation.object == 0 and relation.name in rel.SPATIAL and draft.entity(relation.subject).place is None:
            return relation
    return None


def _members(draft: Draft) -> list[int]:
    owned = {r.object for r in draft.spec.relations if r.name in OWNED}
    return [i for i in range(len(draft.spec.entities)) if i not in owned]


def _inventory(draft: Draft) -> None:
    """ "A shaggy dog, a blue vase and two chairs share a small kitchen"; how they stand comes later."""
    members = _members(draft)[: draft.rng.choice((2, 3, 3, 4))]
    listed = enumeration([noun_phrase(draft, i, plain=True) for i in members])
    plan = draft.choose(INVENTORIES)
    sentence = render(draft, plan.replace("{list}", "\x00"), 0).replace("\x00", listed)
    draft.say(sentence, plan)
