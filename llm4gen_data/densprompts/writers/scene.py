"""Sentences about the scene as a whole: its details, its light, the style of the picture and the point of view."""

from __future__ import annotations

from llm4gen_data.densprompts.vocabulary import lexicon
from llm4gen_data.densprompts.writers.draft import Draft, is_simple, n_words
from llm4gen_data.densprompts.writers.plans import fields_of, possible, render, tell

ONE_DETAIL = ("{detail}", "{detail}", "one notices that {detail}", "here, {detail}")
# Behind a short sentence that says where a thing is: behind what someone looks like it would seem to follow from that.
TRAILING = (", while {detail}", ", and {detail}")
MAX_WORDS_BEFORE_CLAUSE = 12
TWO_DETAILS = (
    *("{detail}, and {detail}",) * 2,
    *("{detail}, while {detail}",) * 2,
    *("{detail}; {detail}",) * 2,
    "while {detail}, {detail}",
    "one notices that {detail} and that {detail}",
)
THREE_DETAILS = (
    "{detail}, {detail}, and {detail}",
    "{detail}; {detail}, and {detail}",
    "{detail}, while {detail} and {detail}",
)
# Beside the lexicon's own.
LIGHT = (
    "{light} lies over the whole {place}",
    "all of it is bathed in {light}",
    "{light} reaches into every corner of the {place}",
    "the {place} is seen in {light}",
    "it is all lit by {light}",
    "{light} gives the {place} its mood",
)
LIGHT_AND_DETAIL = (
    "{detail}, and {light} falls over the {place}",
    "{light} fills the {place}, and {detail}",
    "{light} lies over everything while {detail}",
    "in {light}, {detail}",
    "{detail} in {light}",
    "{light} touches the {place}; {detail}",
)
PHOTOGRAPH = (
    "the scene is captured in {style}",
    "this is {style}",
    "the picture is {style}",
    "{style} has caught it all",
    "{style} records the scene",
    "{style} holds the moment",
    "all of this appears in {style}",
    "the image is {style}",
)
ARTWORK = (
    "the picture is {style}",
    "all of this is shown as {style}",
    "the whole scene takes the form of {style}",
    "this is {style}",
    "the scene appears as {style}",
    "the artist has made it {style}",
    "the image is {style}",
)
STYLE_AND_DETAIL = (
    "this is {style} in which {style_detail}",
    "the picture is {style}, and {style_detail}",
    "everything appears as {style}; {style_detail}",
    "as befits {style}, {style_detail}",
    "the whole is {style} in which {style_detail}",
    "{style_detail}, for this is {style}",
    "the scene is rendered as {style}: {style_detail}",
    "{style_detail}, as one expects of {style}",
)
STYLE_AND_VIEW = (
    "this is {style}, with everything {view}",
    "the picture is {style}, {view}",
    "{view}, the scene appears as {style}",
    "this is {style}, and everything in it is {view}",
)
STYLE_AND_LIGHT = (
    "{style} captures it in {light}",
    "this is {style} in {light}",
    "{light} sets the tone of the {bare_style}",
    "the {bare_style} is filled with {light}",
)
STYLE_DETAIL = ("{style_detail}",)
VIEW = (
    "the scene is {view}",
    "everything is {view}",
    "the whole {place} is {view}",
    "all of this is {view}",
)
VIEW_AND_DETAIL = ("all of this is {view}, and {detail}", "everything is {view}; {detail}")
VIEW_AND_LIGHT = ("{view}, the {place} lies in {light}", "the {place} is {view} in {light}")


def say_detail(draft: Draft) -> None:
    """The next details of the setting: one, two or three in a sentence."""
    if len(draft.details) > 1 and draft.rng.random() < 0.97:
        _tell(draft, THREE_DETAILS if len(draft.details) > 2 and draft.rng.random() < 0.25 else TWO_DETAILS)
    elif _can_trail(draft):
        plan = draft.choose(TRAILING)
        draft.extend(render(draft, plan, 0), plan)
    else:
        _tell(draft, ONE_DETAIL)


def _can_trail(draft: Draft) -> bool:
    """Whether the last sentence is short and says where a thing is."""
    fields = fields_of(draft.plans[-1])
    places = "np" in fields and not fields.isdisjoint({"where", "there", "setting"})
    return places and is_simple(draft.sentences[-1]) and n_words(draft.sentences[-1]) <= MAX_WORDS_BEFORE_CLAUSE


def say_light(draft: Draft) -> None:
    """The light, unless it has been said, perhaps with a detail or the point of view."""
    if draft.spec.light is None or "light" in draft.scene_said:
        return
    draw = draft.rng.random()
    if draw < 0.7 and draft.details:
        _tell(draft, LIGHT_AND_DETAIL)
    elif not (draw < 0.88 and _tell(draft, VIEW_AND_LIGHT)):
        _tell(draft, (*lexicon().light_sentences, *LIGHT))


def say_style(draft: Draft) -> None:
    """Style and point of view, unless they have been said, and what shows the style."""
    rng = draft.rng
    if draft.spec.style is None or "style" in draft.scene_said:
        _tell(draft, STYLE_DETAIL)
    elif rng.random() < 0.4 and possible(draft, STYLE_AND_LIGHT, 0):
        _tell(draft, STYLE_AND_LIGHT)
        _tell(draft, STYLE_DETAIL)
    elif not (_tell(draft, STYLE_AND_DETAIL) or _tell(draft, STYLE_AND_VIEW)):
        _tell(draft, PHOTOGRAPH if draft.spec.style in lexicon().photographs else ARTWORK)
    if draft.details and rng.random() < 0.5 and _tell(draft, VIEW_AND_DETAIL):
        return
    _tell(draft, VIEW)


def _tell(draft: Draft, plans: tuple[str, ...]) -> bool:
    """Say a sentence or two by one of the plans; False if none is possible."""
    said = tell(draft, plans)
    if said:
        sentence, plan = draft.sentences.pop(), draft.plans.pop()
        for part, name in zip(sentence.removesuffix(".").split(". "), plan.split(". "), strict=True):
            draft.say(part, name)
    return said
