"""The dense captions that vlm-mini learns to write: all objects from left to right, then how they stand to each other.

They are of the words of `llm4gen_data.scenes.dense`, in an order that follows from the picture: what a captioner is to
say next it can look up, and need not guess.
"""

import random

import numpy as np

from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.dense import MIN_WORDS, fill
from llm4gen_data.scenes.draft import Draft, ground, noun_phrase, verb_keys
from llm4gen_data.scenes.facts import canonical_relations, with_entailed
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.sentences import tell_relation
from llm4gen_data.scenes.wording import ATTRIBUTES, Unit, Words, enumeration, unit_relations, units_of

# Both objects are known before the relation's word: the one it begins with, and the other by the order of pairs.
RELATIONS = ("{a} {verb} {rel} {b}", "{a} {is} {rel} {b}")
LONGEST_RELATION = 13  # words
MAX_WORDS = 110  # with their punctuation well within the 160 tokens of an answer


def telling_caption(scene: Scene, rng: random.Random) -> str:
    """A caption of 50 to 110 words: all objects with all attributes, background, each relation that there is room for.

    Relations that follow from what has been said are told after all others.
    """
    units = sorted(units_of(scene), key=lambda unit: _left(scene, unit))
    draft = Draft(scene, rng, Words(rng), units, unit_relations(scene, units))
    mentions = [noun_phrase(draft, u, ATTRIBUTES) for u in range(len(units))]
    patterns = phrases.BACKED_OPENINGS if len(units) == 1 else phrases.BACKED_LISTS
    keys = {"np": mentions[0], "list": enumeration(mentions), "ground": ground(draft)}
    draft.say(draft.choose(patterns), verb_keys(draft, 0) | keys)
    draft.ground_said = True
    _tell_relations(draft)
    draft.related = {}  # what is added to fill the caption holds no relations
    fill(draft, MIN_WORDS)
    return " ".join(draft.sentences)


def _left(scene: Scene, unit: Unit) -> float:
    return float(np.mean([scene.objects[i].x for i in unit.members]))


def _tell_relations(draft: Draft) -> None:
    """Pair by pair, each unit with those before it; what follows from other relations in a second round."""
    pairs = [(a, b) for b in range(len(draft.units)) for a in range(b)]
    for entailed in (False, True):
        for a, b in pairs:
            for relation in draft.related.get((a, b), ()):
                said = canonical_relations((r.subject, r.relation, r.object) for r in draft.claimed)
                known = said if entailed else with_entailed(said)
                new = canonical_relations([(draft.units[a].members[0], relation, draft.units[b].members[0])])
                if not new <= known and draft.n_words + LONGEST_RELATION <= MAX_WORDS:
                    tell_relation(draft, a, relation, b, RELATIONS)
