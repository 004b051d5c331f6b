"""How much of the truth captions tell, and how much of what they tell is true, over many scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm4gen_data.scenes.facts import KINDS, caption_facts, compare, compare_nameable_relations, truth_facts
from llm4gen_data.scenes.sample import Scene


@dataclass(frozen=True, slots=True)
class FactScore:
    """Facts of one kind over all scenes: `n_true` hold, `n_claimed` are claimed, `n_right` are both."""

    n_true: int
    n_claimed: int
    n_right: int

    @property
    def precision(self) -> float | None:
        """Share of the claims that hold; None where nothing is claimed."""
        return self.n_right / self.n_claimed if self.n_claimed else None

    @property
    def recall(self) -> float | None:
        """Share of the truth that is claimed; None where there is nothing to claim."""
        return self.n_right / self.n_true if self.n_true else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where there is nothing to claim and nothing is."""
        n = self.n_true + self.n_claimed
        return 2 * self.n_right / n if n else None


def caption_scores(scenes: Sequence[Scene], captions: Sequence[str | None]) -> dict[str, FactScore]:
    """Score one caption a scene, facts of all scenes pooled (micro-average), by kind in the order of KINDS.

    A missing caption claims nothing. Raises ValueError if the lengths differ.
    """
    n_right, n_wrong, n_missed = (dict.fromkeys(KINDS, 0) for _ in range(3))
    for scene, caption in zip(scenes, captions, strict=True):
        for kind, counts in compare(caption_facts(caption or ""), truth_facts(scene)).items():
            n_right[kind] += counts.true_positive
            n_wrong[kind] += counts.false_positive
            n_missed[kind] += counts.false_negative
    return {
        kind: FactScore(n_right[kind] + n_missed[kind], n_right[kind] + n_wrong[kind], n_right[kind]) for kind in KINDS
    }


def nameable_relation_score(scenes: Sequence[Scene], captions: Sequence[str | None]) -> FactScore:
    """Relations that words can tell, those that follow from what is claimed counted as claimed; all scenes pooled.

    See `facts.compare_nameable_relations`. Raises ValueError if the lengths differ.
    """
    n_right = n_wrong = n_missed = 0
    for scene, caption in zip(scenes, captions, strict=True):
        counts = compare_nameable_relations(caption_facts(caption or ""), truth_facts(scene))
        n_right += counts.true_positive
        n_wrong += counts.false_positive
        n_missed += counts.false_negative
    return FactScore(n_right + n_missed, n_right + n_wrong, n_right)


def format_scores(columns: Mapping[str, Mapping[str, FactScore]]) -> str:
    """A table for people: one line a kind, precision and recall of each column side by side, and the true facts."""
    head = "".join(f"{name:^23}" for name in columns)
    lines = [f"{'':10}{head}", f"{'fact':10}" + "precision    recall    " * len(columns) + "    true facts"]
    for kind in KINDS:
        cells = "".join(
            f"{_share(scores[kind].precision):>9}{_share(scores[kind].recall):>10}    " for scores in columns.values()
        )
        n_true = next(iter(columns.values()))[kind].n_true
        lines.append(f"{kind:10}{cells}{n_true:>14,}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
