"""Sentence plans: patterns whose fields are filled from a draft, in the order in which they stand.

A field is named after what it says: `{np}` brings a thing in, `{ref}` and `{subj}` name a known one, `{where}` is its
place (`{there}` by a pronoun), `{does}` and `{doing}` what it does, `{verb}` how it stands there, `{v:hold}` any verb
with it as the subject. A 2 behind the name means the second of two things. `{detail}`, `{light}`, `{style}`, `{view}`
and `{setting}` are the scene's.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from llm4gen_data.densprompts.inflect import PRONOUNS
from llm4gen_data.densprompts.writers import phrases
from llm4gen_data.densprompts.writers.draft import Draft

# What each field of a thing says; some of them change what counts as said.
_OF_THINGS: Mapping[str, Callable[[Draft, int], str]] = {
    "np": phrases.noun_phrase,
    "where": phrases.where,
    "there": lambda draft, i: phrases.where(draft, i, by_pronoun=True),
    "is": lambda draft, i: "are" if draft.entity(i).count > 1 else "is",
    "does": lambda draft, i: phrases.verb(draft, i, phrases.action(draft, i)),
    "doing": lambda draft, i: phrases.doing(draft, i, phrases.action(draft, i)),
    "verb": lambda draft, i: phrases.verb(draft, i, phrases.posture(draft, i)),
    "nouns": phrases.bare_noun,
    "poss": lambda draft, i: PRONOUNS[draft.entity(i).pronoun][2],
    "who": lambda draft, i: "who" if draft.lexeme(i).kind == "person" else "which",
    "that": lambda draft, i: "who" if draft.lexeme(i).kind == "person" else "that",
}
Plans = tuple[str, ...]
# What can be said of a thing in a sentence of its own.
FACTS = ("color", "material", "part")
# Other fields for the same thing.
_SAME = {"setting": "ground", "style": "bare_style"}
_SCENE = ("setting", "light", "style", "style_detail", "view")


@lru_cache(maxsize=4096)
def _parsed(plan: str) -> tuple[tuple[str, str | None, str], ...]:
    """(text before, field or None, what stands behind its colon) of each field of a plan."""
    return tuple((text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(plan))


@lru_cache(maxsize=4096)
def fields_of(plan: str) -> frozenset[str]:
    """The names of a plan's fields; "apart" is one more where it says both what a thing does and where it is."""
    fields = {name for _, name, _ in _parsed(plan) if name is not None}
    for suffix in ("", "2"):
        if fields & {"where" + suffix, "there" + suffix} and fields & {"does" + suffix, "doing" + suffix}:
            fields.add("apart" + suffix)
    return frozenset(fields)


@lru_cache(maxsize=4096)
def _n_details(plan: str) -> int:
    return sum(name == "detail" for _, name, _ in _parsed(plan))


def possible(draft: Draft, plans: Sequence[str], i: int, j: int | None = None) -> list[str]:
    """Those of the plans whose every field has something to say that has not been said."""
    empty = _empty_of_scene(draft) | _empty_of_thing(draft, i)
    if j is not None:
        empty |= {name + "2" for name in _empty_of_thing(draft, j)}
    n = len(draft.details)
    return [plan for plan in plans if fields_of(plan).isdisjoint(empty) and _n_details(plan) <= n]


def _empty_of_scene(draft: Draft) -> set[str]:
    """The fields of the scene with nothing left to say."""
    empty = {name for name in _SCENE if name in draft.scene_said or getattr(draft.spec, name) is None}
    return empty | {_SAME[name] for name in empty if name in _SAME}


def _empty_of_thing(draft: Draft, i: int) -> set[str]:
    """The fields of a thing with nothing left to say, or that would not go with what it does."""
    empty = set()
    if not draft.acts(i):
        empty |= {"does", "doing"}
    elif not _says_apart(draft, i):
        empty.add("apart")
    if not phrases.stands_still(draft, i):
        empty.add("verb")
    if draft.is_placed(i):
        empty |= {"where", "there"}
    if i in draft.told:
        empty.update(name for name in FACTS if not draft.missing(i, name))
    return empty


def _says_apart(draft: Draft, i: int) -> bool:
    """Whether what it does and where it is can stand in one sentence: not "looks at the vase next to the vase"."""
    if draft.entity(i).action is not None and i not in draft.acted:
        return True
    done, place = draft.interaction(i), draft.place_relation(i)
    return done is None or place is None or done.object != place.object


def render(draft: Draft, plan: str, i: int, j: int | None = None) -> str:
    """The plan with its fields filled; what it says then counts as said."""
    done, without, pieces = [], fields_of(plan) & {"color", "material"}, _parsed(plan)
    for at, (text, name, spec) in enumerate(pieces):
        done.append(text)
        if name is None:
            continue
        one, field = (i, name) if j is None or not name.endswith("2") else (j, name.removesuffix("2"))
        match field:
            case "np":
                plain, last = text.endswith((" with ", " in ")), at == len(pieces) - 1
                done.append(phrases.noun_phrase(draft, one, plain, last))
            case "ref":
                done.append(phrases.reference(draft, one, without))
            case "subj":
                done.append(phrases.subject(draft, one, without))
            case "v":
                done.append(phrases.verb(draft, one, spec))
            case "color" | "material" | "part":
                draft.told[one].add(field)
                done.append(str(getattr(draft.entity(one), field)))
            case _ if field in _OF_THINGS:
                done.append(_OF_THINGS[field](draft, one))
            case _:
                done.append(_of_scene(draft, field))
    return "".join(done)


def _of_scene(draft: Draft, field: str) -> str:
    if field == "place":
        return draft.spec.place_noun
    if field == "ground":
        draft.scene_said.add("setting")
        return draft.spec.ground
    if field == "bare_style":  # "oil painting" of "an oil painting"
        draft.scene_said.add("style")
        return str(draft.spec.style).partition(" ")[2]
    if field == "detail":
        draft.last = None  # a pronoun behind it could mean something of the detail
        return draft.details.pop(0)
    draft.scene_said.add(field)
    return str(getattr(draft.spec, field))


def tell(draft: Draft, plans: Sequence[str], i: int = 0, j: int | None = None, topic: int | None = None) -> bool:
    """Say a sentence by one of the plans that are possible; False if none is."""
    fitting = possible(draft, plans, i, j)
    if not fitting:
        return False
    plan = draft.choose(fitting)
    draft.say(render(draft, plan, i, j), plan, topic)
    return True
