"""Facts about a picture: what a caption claims, what is true, and how the two agree."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import permutations, product

import numpy as np
from scipy.optimize import linear_sum_assignment

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.lexicon import background_of
from llm4gen_data.scenes.parse import read_caption
from llm4gen_data.scenes.sample import Scene, relations
from llm4gen_data.scenes.vocabulary import OPPOSITE_RELATION

ATTRIBUTES = ("color", "texture", "size")
KINDS = ("object", *ATTRIBUTES, "relation")


@dataclass(frozen=True, slots=True)
class ObjectFact:
    """An object as far as it is known; None is not told."""

    shape: str | None
    color: str | None = None
    texture: str | None = None
    size: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Objects and relations between them; relations are (index, "left of" or "above", index)."""

    objects: tuple[ObjectFact, ...]
    relations: frozenset[tuple[int, str, int]] = field(default=frozenset())
    background: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many claims hold, how many do not, how many truths are not claimed."""

    true_positive: int
    false_positive: int
    false_negative: int


def caption_facts(text: str) -> Facts:
    """What a caption of our grammar, or an imitation of it, claims; text without claims gives no facts."""
    reader = read_caption(text)
    members: list[list[int]] = []
    objects: list[ObjectFact] = []
    for unit in reader.units:
        members.append(list(range(len(objects), len(objects) + unit.n)))
        attributes = unit.attributes
        fact = ObjectFact(unit.shape, attributes.get("color"), attributes.get("texture"), attributes.get("size"))
        objects += [fact] * unit.n
    claimed = ((i, relation, j) for a, relation, b in reader.relations for i, j in product(members[a], members[b]))
    return Facts(tuple(objects), canonical_relations(claimed), background_of(text))


def truth_facts(scene: Scene) -> Facts:
    """What is true of a scene: every object with all attributes, every relation that clearly holds."""
    objects = tuple(ObjectFact(o.shape, o.color, o.texture, o.size) for o in scene.objects)
    true = ((r.subject, r.relation, r.object) for r in relations(scene))
    return Facts(objects, canonical_relations(true), scene.background)


def facts_to_json(facts: Facts) -> str:
    """Facts as JSON, equal for equal facts: `objects`, `relations` ([subject, name, object]) and `background`."""
    relations = [list(relation) for relation in sorted(facts.relations)]
    objects = [asdict(o) for o in facts.objects]
    return json.dumps({"objects": objects, "relations": relations, "background": facts.background})


def facts_from_json(text: str) -> Facts:
    """The inverse of `facts_to_json`. Raises UserError for anything else."""
    try:
        data = json.loads(text)
        objects = tuple(ObjectFact(**o) for o in data["objects"])
        relations = frozenset((int(a), str(relation), int(b)) for a, relation, b in data["relations"])
        facts = Facts(objects, relations, data["background"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"not the facts of a scene: {text[:80]!r}") from error
    indices = {index for a, _, b in relations for index in (a, b)}
    if not all(0 <= index < len(objects) for index in indices):
        raise UserError(f"not the facts of a scene: a relation between objects that are not there: {text[:80]!r}")
    return facts


def canonical_relations(relations: Iterable[tuple[int, str, int]]) -> frozenset[tuple[int, str, int]]:
    """Each relation once, as "left of" or "above"."""
    return frozenset(
        (a, relation, b) if relation in ("left of", "above") else (b, OPPOSITE_RELATION[relation], a)
        for a, relation, b in relations
    )


def with_entailed(relations: Iterable[tuple[int, str, int]]) -> frozenset[tuple[int, str, int]]:
    """Canonical relations and all that follow: a left of b and b left of c make a left of c, and so for "above"."""
    known = set(relations)
    while (
        new := {
            (a, relation, c)
            for (a, relation, b), (b2, relation2, c) in product(known, known)
            if (b, relation) == (b2, relation2)
        }
        - known
    ):
        known |= new
    return frozenset(known)


def compare(claimed: Facts, truth: Facts) -> dict[str, Counts]:
    """Claims against the truth by kind: object, color, texture, size, relation.

    Objects are matched one to one, only where the shapes agree (or the claim tells none), so that most facts agree.
    What is claimed of an object without a match is wrong. Relations are counted once per pair and axis: recall is the
    share of *all* true relations, of which a caption need not tell many.
    """
    matched = match_objects(claimed, truth)
    n_matched = len(matched)
    counts = {"object": Counts(n_matched, len(claimed.objects) - n_matched, len(truth.objects) - n_matched)}
    for attribute in ATTRIBUTES:
        told = sum(getattr(o, attribute) is not None for o in claimed.objects)
        known = sum(getattr(o, attribute) is not None for o in truth.objects)
        right = sum(
            getattr(claimed.objects[i], attribute) is not None
            and getattr(claimed.objects[i], attribute) == getattr(truth.objects[j], attribute)
            for i, j in matched.items()
        )
        counts[attribute] = Counts(right, told - right, known - right)
    right = len(_translated(claimed, matched) & truth.relations)
    counts["relation"] = Counts(right, len(claimed.relations) - right, len(truth.relations) - right)
    return counts


def compare_nameable_relations(claimed: Facts, truth: Facts) -> Counts:
    """What is claimed of relations, and what follows from it, against the true relations that words can tell.

    Objects of equal kind cannot be told apart by description: relations between two of them are left out. What follows
    (`with_entailed`) counts as if it were claimed, be it right or wrong.
    """
    matched = match_objects(claimed, truth)
    said = Facts(claimed.objects, with_entailed(claimed.relations))
    told = _translated(said, matched) & truth.relations
    nameable = {(a, relation, b) for a, relation, b in truth.relations if truth.objects[a] != truth.objects[b]}
    return Counts(len(told & nameable), len(said.relations) - len(told), len(nameable - told))


def match_objects(claimed: Facts, truth: Facts) -> dict[int, int]:
    """Claimed object -> true object, at most one to one, by the most agreeing facts."""
    if not claimed.objects or not truth.objects:
        return {}
    agreement = np.array([[_agreement(c, t) for t in truth.objects] for c in claimed.objects])
    rows, columns = linear_sum_assignment(agreement, maximize=True)
    matched = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if agreement[i, j] > 0}
    return _best_among_equals(matched, claimed, truth)


def _agreement(claim: ObjectFact, true: ObjectFact) -> int:
    """How well a claimed object fits a true one; 0 where it cannot be meant."""
    score = 4 * (claim.color == true.color) + 2 * (claim.texture == true.texture) + (claim.size == true.size)
    if claim.shape is None:
        return score
    return 16 + score if claim.shape == true.shape else 0


def _best_among_equals(matched: dict[int, int], claimed: Facts, truth: Facts) -> dict[int, int]:
    """The same match with true objects of equal kind exchanged so that most claimed relations hold."""
    by_kind: dict[ObjectFact, list[int]] = {}
    for i, j in matched.items():
        by_kind.setdefault(truth.objects[j], []).append(i)
    groups = [group for group in by_kind.values() if len(group) > 1]
    best, best_right = matched, -1
    # At most four true objects of a scene are alike, hence at most 24 orders.
    for orders in product(*(permutations(group) for group in groups)):
        candidate = dict(matched)
        for group, order in zip(groups, orders, strict=True):
            candidate |= {i: matched[k] for i, k in zip(group, order, strict=True)}
        right = len(_translated(claimed, candidate) & truth.relations)
        if right > best_right:
            best, best_right = candidate, right
    return best


def _translated(claimed: Facts, matched: dict[int, int]) -> frozenset[tuple[int, str, int]]:
    """The claimed relations between matched objects, in the truth's indices."""
    return frozenset(
        (matched[a], relation, matched[b]) for a, relation, b in claimed.relations if a in matched and b in matched
    )
