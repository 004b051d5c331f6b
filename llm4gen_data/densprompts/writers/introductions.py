"""Sentences that bring things in: one at a time, two at once, or behind the sentence before."""

from __future__ import annotations

from llm4gen_data.densprompts.writers.draft import Draft, is_simple
from llm4gen_data.densprompts.writers.phrases import posture
from llm4gen_data.densprompts.writers.plans import Plans, possible, render, tell

# Plans that stand twice are drawn twice as often.
STANDING: Plans = (
    *("{np} {verb} {where}",) * 2,
    *("{where} {verb} {np}",) * 2,
    "there {is} {np} {where}",
    "{where} {is} {np}",
    "{np} {is} {where}",
    "{np} {v:catch} the eye {where}",
    "{where}, there {is} {np}",
    "{where} there {is} {np}",
    "{np} can be seen {where}",
    "there {is} also {np} {where}",
    "{where} one sees {np}",
)
# Not for what is alive.
LIFELESS: Plans = (
    "{np} {v:occupy} a spot {where}",
    "{np} {v:have} {poss} place {where}",
    "{where} one finds {np}",
)
# For what people put somewhere.
PLACED: Plans = (
    "{np} {v:have} been placed {where}",
    "{np} {v:have} been left {where}",
    "{np} {v:have} been set down {where}",
    "someone has put {np} {where}",
    "{where}, someone has left {np}",
)
ACTING: Plans = (
    "{where}, {np} {does}",
    "{np} {does} {where}",
    "{where}, there {is} {np} {doing}",
    "{np} {is} {doing} {where}",
    "{where} {is} {np}, {doing}",
    "{np} {verb} {where}, {doing}",
    "{np} {verb} {where} and {does}",
    "{where} {verb} {np}, {doing}",
    "{where} {verb} {np} {that} {does}",
    "{np} can be seen {where}, {doing}",
    "{np}, {doing}, {verb} {where}",
    "{where} one sees {np} {doing}",
    "{doing} {where} {is} {np}",
    "{where} {is} {np} {that} {does}",
    "{where} there {is} {np}, {doing}",
)
WITH_DETAIL = (
    "{detail}, and {where} {verb} {np}",
    "{detail}, and {np} {verb} {where}",
    "{np} {verb} {where}, and {detail}",
    "{where} {verb} {np}, and {detail}",
    "{where} {verb} {np} while {detail}",
    "{detail}; {where} {is} {np}",
    "while {detail}, {np} {verb} {where}",
    "{detail}, while {where} {verb} {np}",
    "there {is} {np} {where}, and {detail}",
    "{where} there {is} {np}, while {detail}",
    "{detail}, and there {is} {np} {where}",
    "{detail}, and {where} {is} {np}",
)
ACTING_WITH_DETAIL = (
    "{detail}, and {where}, {np} {does}",
    "while {detail}, {np} {does} {where}",
    "{np} {does} {where} while {detail}",
    "{where}, {np} {is} {doing} while {detail}",
    "{detail} as {np} {does} {where}",
    "{np} {is} {doing} {where}, and {detail}",
    "{detail}; {where} {verb} {np}, {doing}",
    "{where} {verb} {np}, {doing}, and {detail}",
)
PAIRS = (
    "{where} {verb} {np}, and {where2} {verb2} {np2}",
    "{np} {verb} {where}, and {np2} {verb2} {where2}",
    "{np} {verb} {where}, while {np2} {verb2} {where2}",
    "{where} {verb} {np}, while {np2} {verb2} {where2}",
    "{where} {verb} {np}, with {np2} {where2}",
    "{np} {verb} {where}, with {np2} {where2}",
    "{where} {is} {np}, and {where2} {is2} {np2}",
    "{where} {is} {np}; {where2}, {np2}",
    "there {is} {np} {where} and {np2} {where2}",
    "while {np} {verb} {where}, {np2} {verb2} {where2}",
    "{np} {verb} {where}; {where2} {verb2} {np2}",
    "{where} one sees {np}, and {where2}, {np2}",
    "{where} there {is} {np}, and {where2}, {np2}",
    "{where} {verb} {np} and, {where2}, {np2}",
    "{np} {verb} {where}, {np2} {where2}",
    "{np} {is} {where}, {np2} {where2}",
    "{where}, {np} {does}, and {np2} {verb2} {where2}",
    "{np} {does} {where}, while {where2} {verb2} {np2}",
    "{np} {is} {doing} {where}, and {where2} there {is2} {np2}",
    "{where} {verb} {np}, and {where2}, {np2} {does2}",
    "{np} {verb} {where}, and {where2}, {np2} {is2} {doing2}",
    "{where} {is} {np}, and {np2} {does2} {where2}",
)
TRAILING = (
    ", with {np} {where}",
    ", and {np} {verb} {where}",
    ", while {np} {verb} {where}",
    "; {where} {verb} {np}",
    ", and {where} {verb} {np}",
    ", {np} {where}",
)
KNOWN = (
    "{ref} {verb} {where}",
    "{ref} {is} {where}",
    "{where} {verb} {ref}",
    "{ref} can be found {where}",
    "{where} one sees {ref}",
)
KNOWN_ACTING = (
    "{ref} {does} {where}",
    "{where}, {ref} {is} {doing}",
    "{ref} {verb} {where}, {doing}",
    "{ref} {is} {where}, {doing}",
)


def bring_in(draft: Draft, i: int) -> None:
    """Introduce entity `i` where it is; if it is known already, say where it is."""
    rng = draft.rng
    if i in draft.told:
        if not draft.is_placed(i):
            acting = possible(draft, KNOWN_ACTING, i)
            tell(draft, acting if acting and rng.random() < 0.7 else KNOWN, i, topic=i)
        return
    relation = draft.place_relation(i)
    acting = possible(draft, ACTING, i)
    if draft.details and rng.random() < 0.4:
        mixed = possible(draft, ACTING_WITH_DETAIL, i) if acting and rng.random() < 0.8 else ()
        tell(draft, mixed or _standing(draft, i, WITH_DETAIL), i, topic=i)
        return
    if acting and rng.random() < 0.85:
        tell(draft, acting, i, topic=i)
    elif draft.may_extend and is_simple(draft.sentences[-1]) and rng.random() < 0.3:
        plan = draft.choose(possible(draft, TRAILING, i) or TRAILING[:1])
        draft.extend(render(draft, plan, i), plan, topic=i)
        return
    else:
        plans = STANDING
        if draft.lexeme(i).kind in ("object", "food"):
            plans += LIFELESS
        if _is_portable(draft, i):
            plans += PLACED
        tell(draft, _standing(draft, i, plans), i, relation.object if relation else None, topic=i)
    draft.may_extend = True


def _standing(draft: Draft, i: int, plans: tuple[str, ...]) -> list[str]:
    """The plans that are possible, fewer of those that fit what is lifted or busy."""
    return possible(draft, plans, i, None if (r := draft.place_relation(i)) is None else r.object)


def bring_in_two(draft: Draft, i: int, j: int) -> bool:
    """Introduce two things in one sentence; False if no plan is possible."""
    fitting = possible(draft, PAIRS, i, j)
    if not fitting:
        return False
    plan = draft.choose(fitting)
    # Where the second is told last, a pronoun would mean that, unless both have the same one.
    topic = j if draft.entity(i).pronoun != draft.entity(j).pronoun else None
    draft.say(render(draft, plan, i, j), plan, topic)
    return True


def _is_portable(draft: Draft, i: int) -> bool:
    noun = draft.lexeme(i)
    return noun.kind in ("object", "food") and noun.where == "surface" and posture(draft, i) != "float"
