from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.study.design import Planned, deal, n_slots_for, plan


def planned(
    groups: list[int], raters: int, per_rater: int, seed: int = 0, n_axes: int = 2, **more: float
) -> list[list[Planned]]:
    options = {"n_gold_pairs": 4, "gold_per_axis": 2, "repeat_share": 0.2, **more}
    return plan(
        groups,
        n_axes=n_axes,
        raters_per_pair=raters,
        pairs_per_rater=per_rater,
        n_gold_pairs=int(options["n_gold_pairs"]),
        gold_per_axis=int(options["gold_per_axis"]),
        repeat_share=options["repeat_share"],
        rng=np.random.default_rng(seed),
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 25), st.integers(0, 99))
def test_every_pair_has_its_raters_and_sides_are_balanced(
    groups: list[int], raters: int, per_rater: int, seed: int
) -> None:
    slots = planned(groups, raters, per_rater, seed)
    assert len(slots) == n_slots_for(len(groups), raters, per_rater)
    for axis in range(2):
        shown = [[t for t in slot if t.axis == axis and t.kind == "pair"] for slot in slots]
        assert all(len({t.number for t in slot}) == len(slot) for slot in shown)
        sizes = [len(slot) for slot in shown]
        assert max(sizes) - min(sizes) <= 1
        for pair in range(len(groups)):
            left = [t.first_left for slot in shown for t in slot if t.number == pair]
            assert len(left) == raters
            assert abs(2 * sum(left) - len(left)) <= 1
        for slot in shown:
            for group in set(groups):
                left = [t.first_left for t in slot if groups[t.number] == group]
                assert abs(2 * sum(left) - len(left)) <= 1


def test_a_rater_goes_axis_after_axis_and_repeats_are_swapped_and_later() -> None:
    for slot in planned([0] * 30, 3, 15):
        assert [t.axis for t in slot] == sorted(t.axis for t in slot)
        repeats = [(i, t) for i, t in enumerate(slot) if t.kind == "repeat"]
        assert len(repeats) == 2 * 3
        for i, repeat in repeats:
            assert repeat.repeats is not None
            first = slot[repeat.repeats]
            assert repeat.repeats < i
            assert (first.kind, first.number, first.axis) == ("pair", repeat.number, repeat.axis)
            assert first.first_left != repeat.first_left
        golds = [t for t in slot if t.kind == "gold"]
        assert Counter((t.axis, t.first_left) for t in golds) == {(a, s): 1 for a in (0, 1) for s in (True, False)}
        assert all(a.number != b.number for a, b in pairwise(golds) if a.axis == b.axis)


def test_the_same_seed_gives_the_same_design_and_another_one_another() -> None:
    assert planned([0, 1, 2] * 6, 3, 9, seed=1) == planned([0, 1, 2] * 6, 3, 9, seed=1)
    assert planned([0, 1, 2] * 6, 3, 9, seed=1) != planned([0, 1, 2] * 6, 3, 9, seed=2)


def test_raters_overlap_in_different_pairs() -> None:
    members = deal([0] * 40, 3, 20, np.random.default_rng(0))
    shared = [len(set(a) & set(b)) for i, a in enumerate(members) for b in members[i + 1 :]]
    assert len(members) == 6
    assert min(shared) > 0  # agreement is measured between all of them, not in closed groups


def test_without_gold_and_repeats_there_are_none() -> None:
    slots = planned([0] * 6, 2, 6, gold_per_axis=0, n_gold_pairs=0, repeat_share=0)
    assert {trial.kind for slot in slots for trial in slot} == {"pair"}
