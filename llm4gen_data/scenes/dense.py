"""Compose a dense caption: a plan for the order of things, then sentences until everything has been said."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.draft import Draft, new_unit_keys, things
from llm4gen_data.scenes.sample import Relation, Scene
from llm4gen_data.scenes.sentences import (
    introduce,
    open_with,
    say_alike,
    say_all_missing,
    say_background,
    say_free_space,
    say_list,
    say_missing,
    say_place,
    say_relation,
    say_shape,
)
from llm4gen_data.scenes.wording import Words, unit_relations, units_of

MIN_WORDS, MAX_WORDS = 50, 95


@dataclass(frozen=True, slots=True)
class DenseCaption:
    """A caption and the relations that it states (indices into the scene's objects)."""

    text: str
    relations: frozenset[Relation]


def compose(scene: Scene, rng: random.Random, *, held_out_synonyms: bool = False) -> DenseCaption:
    """A caption of 50 to 95 words that states every object, attribute and the background, and nothing untrue."""
    while True:
        draft = _draft(scene, rng, held_out_synonyms)
        if MIN_WORDS <= draft.n_words <= MAX_WORDS:
            return DenseCaption(" ".join(draft.sentences), frozenset(draft.claimed))


def _draft(scene: Scene, rng: random.Random, held_out: bool) -> Draft:
    units = units_of(scene)
    draft = Draft(scene, rng, Words(rng, held_out), units, unit_relations(scene, units))
    plans = [walk]
    if len(units) > 1:
        plans += [roll_call, roll_call]
        chains = [c for relation in phrases.LINE_UPS if (c := chain_of(draft, relation))]
        if chains:
            plans.append(line_up)
    if rng.random() < 0.2:
        say_background(draft)
    rng.choice(plans)(draft)
    for u in range(len(units)):
        say_missing(draft, u)
    if draft.related and (not draft.claimed or rng.random() < 0.3):
        say_relation(draft)
    fill(draft, rng.randint(56, 80))
    return draft


def fill(draft: Draft, n_words: int) -> None:
    """Add what goes without repeating anything until there are `n_words`, and the background if it is still unsaid."""
    for extra in _extras(draft):
        if draft.n_words >= n_words:
            break
        extra()
    if not draft.ground_said:
        say_background(draft)


def _extras(draft: Draft) -> list[Callable[[], None]]:
    """What may be added without repeating anything, the more telling first."""
    rng, units = draft.rng, range(len(draft.units))
    telling: list[Callable[[], None]] = [partial(say_place, draft, u) for u in units]
    telling += [partial(say_relation, draft), partial(say_free_space, draft)]
    telling += [partial(say_shape, draft, u) for u in units]
    rng.shuffle(telling)
    several = len(draft.scene.objects) > 1
    closers = phrases.CLOSERS + (phrases.CLOSERS_OF_SEVERAL if several else phrases.CLOSERS_OF_ONE)
    keys = {"things": things(draft)}
    general: list[Callable[[], None]] = [partial(draft.say, rng.choice(row), keys) for row in closers]
    general += [partial(say_alike, draft, u) for u in units if draft.units[u].n > 1]
    rng.shuffle(general)
    if not draft.ground_said:
        general.insert(rng.randint(0, 2), partial(say_background, draft))
    return telling + general


def walk(draft: Draft) -> None:
    """Bring in one unit after the other, each by its relation to one already there."""
    order = draft.rng.sample(range(len(draft.units)), len(draft.units))
    open_with(draft, order[0])
    for position, u in enumerate(order[1:], start=1):
        if draft.rng.random() < 0.6:
            say_missing(draft, draft.topic if draft.topic is not None else order[position - 1])
        known = [k for k in order[:position] if (u, k) in draft.related]
        if known:
            anchor = draft.topic if draft.topic in known else draft.rng.choice(known)
            introduce(draft, u, anchor)
        else:
            pattern = draft.choose(phrases.PLAIN_INTRODUCTIONS)
            draft.say(pattern, new_unit_keys(draft, u), topic=u)


def roll_call(draft: Draft) -> None:
    """List all units with hardly an attribute, then say what each of them is like."""
    order = draft.rng.sample(range(len(draft.units)), len(draft.units))
    say_list(draft, order, phrases.LISTS if draft.ground_said else phrases.LISTS + phrases.BACKED_LISTS)
    say_all_missing(draft, order)
    for _ in range(len(order) - 1):
        say_relation(draft)


def line_up(draft: Draft) -> None:
    """List the units from left to right or from top to bottom, then say what each of them is like."""
    relation, order = draft.rng.choice(
        [(r, chain) for r in phrases.LINE_UPS if (chain := chain_of(draft, r)) is not None]
    )
    say_list(draft, order, phrases.LINE_UPS[relation])
    for position, a in enumerate(order):
        for b in order[position + 1 :]:
            draft.claim(a, relation, b)
    say_all_missing(draft, order)


def chain_of(draft: Draft, relation: str) -> list[int] | None:
    """The units in an order in which each stands in `relation` to the next, if there is one."""
    axis = "x" if relation == "left of" else "y"
    order = sorted(range(len(draft.units)), key=lambda u: getattr(draft.units[u].object, axis))
    steps = pairwise(order)
    return order if all(relation in draft.related.get(step, ()) for step in steps) else None
