"""Which raters are left out, by the rules fixed when the study was made; told and written while nobody knows whose
picture is whose."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.study.records import Checks, ExclusionRules, Study, Vote, slots_of


@dataclass(frozen=True, slots=True)
class RaterCheck:
    """What the rules look at in one rater, and the reasons to leave the rater out, in words; none: the rater stays.

    `median_seconds` is None where the votes carry no times, shares are None where nothing is to be shared.
    """

    rater_id: str
    n_votes: int
    median_seconds: float | None
    n_gold: int
    n_gold_missed: int
    n_sided: int
    side_share: float | None
    completed_share: float
    n_repeats: int
    n_repeats_equal: int
    reasons: tuple[str, ...]


def check_raters(votes: Sequence[Vote], study: Study, checks: Checks) -> list[RaterCheck]:
    """Hold every rater to the rules, in the order of their first votes.

    Where not one vote of the study took any time, its source has no clock and the rule on time cannot be applied;
    in a study with times, a rater without is a fast one.
    """
    by_rater: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater_id].append(vote)
    has_times = any(vote.seconds > 0 for vote in votes)
    sizes = [len(slot) for slot in study.slots]
    slot_of = slots_of(study)
    return [_check(rater_id, cast, checks, slot_of, sizes, has_times) for rater_id, cast in by_rater.items()]


def kept_votes(votes: Sequence[Vote], raters: Sequence[RaterCheck], checks: Checks) -> list[Vote]:
    """The votes that count: of raters without a reason against them, no gold trials and no repeats."""
    kept = {rater.rater_id for rater in raters if not rater.reasons}
    return [vote for vote in votes if vote.rater_id in kept and vote.trial_id not in {**checks.gold, **checks.repeats}]


def exclusion_record(
    raters: Sequence[RaterCheck], names: Mapping[str, str], checks: Checks, votes_sha256: str
) -> dict[str, Any]:
    """`exclusions.json`: rules, what was found of each rater under a name of no meaning, and which votes it is of."""
    rows = [{**asdict(rater), "rater_id": names[rater.rater_id]} for rater in raters]
    return {
        "study_id": checks.study_id,
        "votes_sha256": votes_sha256,
        "rules": asdict(checks.rules),
        "n_raters": len(raters),
        "n_excluded": sum(bool(rater.reasons) for rater in raters),
        "n_votes": sum(rater.n_votes for rater in raters),
        "n_votes_excluded": sum(rater.n_votes for rater in raters if rater.reasons),
        "raters": sorted(rows, key=lambda row: str(row["rater_id"])),
    }


def _check(
    rater_id: str,
    votes: Sequence[Vote],
    checks: Checks,
    slot_of: Mapping[str, int],
    sizes: Sequence[int],
    has_times: bool,
) -> RaterCheck:
    sides = Counter(vote.choice for vote in votes if vote.choice != "tie")
    gold = [vote for vote in votes if vote.trial_id in checks.gold]
    slot = Counter(slot_of[vote.trial_id] for vote in votes).most_common(1)[0][0]
    choices = {vote.trial_id: vote.choice for vote in votes}
    repeats = [
        (vote.choice, choices[checks.repeats[vote.trial_id]])
        for vote in votes
        if checks.repeats.get(vote.trial_id) in choices
    ]
    swapped = {"left": "right", "right": "left", "tie": "tie"}
    found = RaterCheck(
        rater_id=rater_id,
        n_votes=len(votes),
        median_seconds=median(vote.seconds for vote in votes) if has_times else None,
        n_gold=len(gold),
        n_gold_missed=sum(vote.choice != checks.gold[vote.trial_id] for vote in gold),
        n_sided=sides.total(),
        side_share=max(sides.values()) / sides.total() if sides else None,
        completed_share=len(votes) / sizes[slot],
        n_repeats=len(repeats),
        n_repeats_equal=sum(again == swapped[before] for again, before in repeats),
        reasons=(),
    )
    fields = asdict(found)
    return RaterCheck(**{**fields, "reasons": tuple(_reasons(found, checks.rules))})


def _reasons(rater: RaterCheck, rules: ExclusionRules) -> list[str]:
    reasons = []
    if rater.median_seconds is not None and rater.median_seconds < rules.min_median_seconds:
        reasons.append(f"median of {rater.median_seconds:.2f} s a vote, under {rules.min_median_seconds:g} s")
    if rater.n_gold and rater.n_gold_missed / rater.n_gold > rules.max_gold_miss_share:
        reasons.append(
            f"{rater.n_gold_missed} of {rater.n_gold} gold pairs missed, over {rules.max_gold_miss_share:.0%}"
        )
    if (
        rater.side_share is not None
        and rater.n_sided >= rules.min_side_votes
        and rater.side_share > rules.max_side_share
    ):
        reasons.append(f"{rater.side_share:.0%} of {rater.n_sided} votes on one side, over {rules.max_side_share:.0%}")
    if rater.completed_share < rules.min_completed_share:
        reasons.append(f"{rater.completed_share:.0%} of the trials answered, under {rules.min_completed_share:.0%}")
    return reasons
