"""Dense captions of the grammar that tell as many relations as fit: what vlm-mini learns to write."""

import random

from llm4gen_data.scenes.dense import MAX_WORDS, MIN_WORDS, chain_of, compose, line_up, roll_call, walk
from llm4gen_data.scenes.draft import Draft
from llm4gen_data.scenes.facts import canonical_relations, with_entailed
from llm4gen_data.scenes.phrases import LINE_UPS
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.sentences import say_background, say_missing, say_place, say_relation, say_shape
from llm4gen_data.scenes.wording import Words, unit_relations, units_of

N_TRIES = 6
ROOM_WORDS = 11  # for one more sentence, and the background's


def telling_caption(scene: Scene, rng: random.Random) -> str:
    """A caption of 50 to 95 words as `dense.compose` writes, with every relation that there is room for.

    Those that do not follow from what has been said come first.
    """
    n_units = len(units_of(scene))
    if n_units > 1:
        drafts = (_draft(scene, rng) for _ in range(N_TRIES if n_units > 2 else N_TRIES // 2))
        fitting = [draft for draft in drafts if MIN_WORDS <= draft.n_words <= MAX_WORDS]
        if fitting:
            return " ".join(max(fitting, key=lambda draft: len(draft.claimed)).sentences)
    return compose(scene, rng).text


def _draft(scene: Scene, rng: random.Random) -> Draft:
    units = units_of(scene)
    related = unit_relations(scene, units)
    draft = Draft(scene, rng, Words(rng), units, dict(related))
    if rng.random() < 0.2:
        say_background(draft)
    plans = [walk]
    if len(units) > 1:
        plans += [roll_call] + [line_up] * 2 * any(chain_of(draft, relation) for relation in LINE_UPS)
    rng.choice(plans)(draft)
    for u in range(len(units)):
        say_missing(draft, u)
    room = MAX_WORDS - ROOM_WORDS * (1 if draft.ground_said else 2)
    while draft.n_words < room and (left := _left_to_say(draft)):
        draft.related = left
        say_relation(draft)
        draft.related = related
    if not draft.ground_said:
        say_background(draft)
    for u in rng.sample(range(len(units)), len(units)):
        if draft.n_words < MIN_WORDS + 8:
            rng.choice((say_place, say_shape))(draft, u)
    return draft


def _left_to_say(draft: Draft) -> dict[tuple[int, int], list[str]]:
    """Relations between units that have not been said, without those that follow while there are others."""
    said = canonical_relations((r.subject, r.relation, r.object) for r in draft.claimed)
    for known in (with_entailed(said), said):
        left: dict[tuple[int, int], list[str]] = {}
        for (a, b), found in draft.related.items():
            first, second = draft.units[a].members[0], draft.units[b].members[0]
            unsaid = [r for r in found if not canonical_relations([(first, r, second)]) <= known]
            if unsaid:
                left[a, b] = unsaid
        if left:
            return left
    return {}
