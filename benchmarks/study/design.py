"""Who sees which pair on which side in which order: balanced, seeded, and told by nothing that a rater sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import numpy as np


@dataclass(frozen=True, slots=True)
class Planned:
    """One trial before it has pictures.

    `number` counts pairs, or for `kind` "gold" the gold pairs of its axis. `first_left`: the pair's first model, or
    a gold pair's right answer, is on the left. `repeats` is the position in the slot of the trial that this repeats.
    """

    axis: int
    kind: Literal["pair", "gold", "repeat"]
    number: int
    first_left: bool
    repeats: int | None = None


def plan(
    groups: Sequence[int],
    *,
    n_axes: int,
    raters_per_pair: int,
    pairs_per_rater: int,
    n_gold_pairs: int,
    gold_per_axis: int,
    repeat_share: float,
    rng: np.random.Generator,
) -> list[list[Planned]]:
    """The trials of each rater slot, axis after axis; `groups[i]` is the pair of models that pair i compares.

    Every pair is in `raters_per_pair` slots; slots differ by at most one in their number of pairs. On each axis a
    pair's first model is as often left as right, within one, over the raters of the pair and over each rater's pairs
    of the same two models. `n_gold_pairs` gold pairs an axis are shared by all slots.
    """
    members = deal(groups, raters_per_pair, pairs_per_rater, rng)
    sides = [balanced_sides(members, groups, rng) for _ in range(n_axes)]
    slots = []
    for slot, pairs in enumerate(members):
        trials: list[Planned] = []
        for axis in range(n_axes):
            golds = rng.permutation(n_gold_pairs)[:gold_per_axis]
            block = _block(axis, pairs, sides[axis][slot], [int(gold) for gold in golds], repeat_share, rng)
            trials += [_shifted(trial, len(trials)) for trial in block] if trials else block
        slots.append(trials)
    return slots


def n_slots_for(n_pairs: int, raters_per_pair: int, pairs_per_rater: int) -> int:
    """How many raters the design takes."""
    return max(raters_per_pair, -(-n_pairs * raters_per_pair // pairs_per_rater))


def deal(
    groups: Sequence[int], raters_per_pair: int, pairs_per_rater: int, rng: np.random.Generator
) -> list[list[int]]:
    """The pairs of each slot: every pair to the least busy raters, among them to those with fewest of its group."""
    n_slots = n_slots_for(len(groups), raters_per_pair, pairs_per_rater)
    load = np.zeros(n_slots, dtype=int)
    of_group = np.zeros((max(groups) + 1, n_slots), dtype=int)
    members: list[list[int]] = [[] for _ in range(n_slots)]
    for pair in rng.permutation(len(groups)):
        # by load, then by group, then by lot
        order = np.lexsort((rng.random(n_slots), of_group[groups[pair]], load))[:raters_per_pair]
        load[order] += 1
        of_group[groups[pair], order] += 1
        for slot in order:
            members[slot].append(int(pair))
    return members


def balanced_sides(
    members: Sequence[Sequence[int]], groups: Sequence[int], rng: np.random.Generator
) -> list[dict[int, bool]]:
    """For each slot, whether the first model of each of its pairs is on the left.

    Raters and pairs are the two sides of a bipartite graph, a trial is an edge. Along a closed walk over all edges
    (Euler) "left" and "right" alternate, so at every vertex they are equally many; where the number of edges is odd,
    an edge to a vertex that stands for nobody makes it even, and they differ by one.
    """
    edges = [
        (("rater", slot, groups[pair]), ("pair", pair), (slot, pair))
        for slot, pairs in enumerate(members)
        for pair in pairs
    ]
    graph = nx.MultiGraph()
    for i in rng.permutation(len(edges)):
        rater, pair_node, trial = edges[i]
        graph.add_edge(rater, pair_node, trial=trial)
    odd = [node for node, degree in graph.degree() if degree % 2]
    for node in odd:
        graph.add_edge(node, ("nobody", "pair" if node[0] == "rater" else "rater"), trial=None)
    # both vertices that stand for nobody have an odd number of edges, or neither
    if any(graph.degree(node) % 2 for node in list(graph) if node[0] == "nobody"):
        graph.add_edge(("nobody", "pair"), ("nobody", "rater"), trial=None)
    sides: list[dict[int, bool]] = [{} for _ in members]
    for component in list(nx.connected_components(graph)):
        is_left = bool(rng.integers(2))
        for trial in _walk(graph.subgraph(component)):
            if trial is not None:
                slot, pair = trial
                sides[slot][pair] = is_left
            is_left = not is_left
    return sides


def _walk(component: nx.MultiGraph) -> Iterator[tuple[int, int] | None]:
    for u, v, key in nx.eulerian_circuit(component, keys=True):
        yield component.edges[u, v, key]["trial"]


def _block(
    axis: int,
    pairs: Sequence[int],
    first_left: dict[int, bool],
    golds: Sequence[int],
    repeat_share: float,
    rng: np.random.Generator,
) -> list[Planned]:
    """One axis of one slot: repeats come in the second half and are of the first, gold pairs are spread."""
    order = [int(pair) for pair in rng.permutation(pairs)]
    half = len(order) // 2
    repeated = [int(pair) for pair in rng.permutation(order[:half])[: round(repeat_share * len(order))]]
    first = [Planned(axis, "pair", pair, first_left[pair]) for pair in order[:half]]
    second = [Planned(axis, "pair", pair, first_left[pair]) for pair in order[half:]]
    second += [Planned(axis, "repeat", pair, not first_left[pair]) for pair in repeated]
    trials = first + [second[i] for i in rng.permutation(len(second))]
    gold_left = bool(rng.integers(2))
    for i, gold in enumerate(golds):
        stretch = len(trials) / len(golds)
        at = int(rng.integers(int(i * stretch), int((i + 1) * stretch) + 1))
        trials.insert(at, Planned(axis, "gold", gold, gold_left))
        gold_left = not gold_left
    position = {trial.number: i for i, trial in enumerate(trials) if trial.kind == "pair"}
    return [
        Planned(axis, "repeat", trial.number, trial.first_left, position[trial.number])
        if trial.kind == "repeat"
        else trial
        for trial in trials
    ]


def _shifted(trial: Planned, by: int) -> Planned:
    if trial.repeats is None:
        return trial
    return Planned(trial.axis, trial.kind, trial.number, trial.first_left, trial.repeats + by)
