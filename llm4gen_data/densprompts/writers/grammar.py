"""The grammar writer: turns a specification into English without a model.

The text follows from the specification, the attempt and the seed alone; whether it is right is for `check.py` to say.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from llm4gen_data.densprompts.coreference import other_names
from llm4gen_data.densprompts.spec import Spec
from llm4gen_data.densprompts.writers.draft import OWNED, Draft
from llm4gen_data.densprompts.writers.introductions import bring_in, bring_in_two
from llm4gen_data.densprompts.writers.openings import open_draft
from llm4gen_data.densprompts.writers.scene import say_detail, say_light, say_style
from llm4gen_data.densprompts.writers.sentences import (
    can_compare,
    say_missing,
    say_missing_of_two,
    say_owned,
    say_relation,
)


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt, and the plan of each of its sentences."""

    text: str
    plans: tuple[str, ...]


def write(spec: Spec, attempt: int = 0, seed: str | None = None) -> str:
    """The text of `write_with_plans`."""
    return write_with_plans(spec, attempt, seed).text


def write_with_plans(spec: Spec, attempt: int = 0, seed: str | None = None) -> Written:
    """A prompt that says all of `spec`; each attempt words it differently.

    With the `seed` of another specification (its `spec_id`, the default) the same choices are made as there, so that
    the text of a twin differs in what the twin changes alone.
    """
    rng = random.Random(f"{seed or spec.spec_id}-{attempt}")
    details = list(spec.details)
    rng.shuffle(details)
    draft = Draft(spec, rng, other_names(spec), details)
    open_draft(draft)
    if rng.random() < 0.2:
        say_light(draft)
    if rng.random() < 0.12:
        say_style(draft)
    # How much of a thing is said before the next one, and how soon the scene comes in.
    thorough, scenic = rng.choice((0.3, 0.6, 0.9)), rng.choice((0.0, 0.15, 0.35))
    waiting = _waiting(draft)
    while waiting:
        _finish_last(draft, thorough)
        if draft.details and rng.random() < scenic:
            say_detail(draft)
        i = _next(draft, waiting)
        waiting.remove(i)
        j = _next(draft, waiting, after=i) if waiting and rng.random() < 0.42 else None
        if j is not None and i not in draft.told and j not in draft.told and bring_in_two(draft, i, j):
            waiting.remove(j)
        else:
            bring_in(draft, i)
    say_missing_of_two(draft)
    for i in range(len(spec.entities)):
        _finish(draft, i)
    for relation in spec.relations:
        if relation not in draft.said:
            say_relation(draft, relation)
    _close(draft)
    return Written(" ".join(draft.sentences), tuple(draft.plans))


def _waiting(draft: Draft) -> list[int]:
    """The things that have yet to be brought in or placed; what is worn or held comes with its person."""
    owned = {r.object for r in draft.spec.relations if r.name in OWNED}
    everything = range(1, len(draft.spec.entities))
    return [i for i in everything if i not in owned and not (i in draft.told and draft.is_placed(i))]


def _next(draft: Draft, waiting: list[int], after: int | None = None) -> int:
    """What to bring in next: something that stands by what was told last, or any other whose place can be told."""
    ready, near = [], []
    for i in waiting:
        relation = draft.place_relation(i)
        if relation is None or relation.object in draft.told or relation.object == after:
            ready.append(i)
            if relation is not None and relation.object == (draft.last if after is None else after):
                near.append(i)
    return draft.rng.choice(near if near and draft.rng.random() < 0.7 else ready)


def _finish_last(draft: Draft, thorough: float) -> None:
    """What is left of the thing told last, and how it compares to what is known."""
    if draft.last is None or draft.rng.random() > thorough:
        return
    last = draft.last
    _finish(draft, last)
    for relation in draft.spec.relations:
        if relation.subject == last and can_compare(draft, relation) and draft.rng.random() < 0.5:
            say_relation(draft, relation)


def _finish(draft: Draft, i: int) -> None:
    if i in draft.told:
        say_owned(draft, i)
        say_missing(draft, i)


def _close(draft: Draft) -> None:
    """The details that are left, light and style, in an order of their own."""
    closings = [say_light, say_style]
    draft.rng.shuffle(closings)
    if draft.rng.random() < 0.5:
        closings.pop(0)(draft)
    while draft.details:
        say_detail(draft)
    for closing in closings:
        closing(draft)
