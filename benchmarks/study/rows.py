"""A study's votes as rows for others: scores of images beside those of metrics, and the votes for publication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.study.exclusions import RaterCheck
from benchmarks.study.records import Checks, Key, Vote

HUMAN = "human."  # an axis is human.<axis> where metrics have their names


def pseudonyms(rater_ids: Sequence[str], seed: int) -> dict[str, str]:
    """A name of no meaning for each rater: r001, r002 in an order drawn by `seed`."""
    order = np.random.default_rng(seed).permutation(len(rater_ids))
    ids = sorted(rater_ids)
    return {ids[i]: f"r{number:03d}" for number, i in enumerate(order, start=1)}


def private_rows(raters: Sequence[RaterCheck], names: Mapping[str, str]) -> list[dict[str, str]]:
    """Who is who, for those who must pay the raters; not for publication."""
    return [
        {"rater_id": rater.rater_id, "name": names[rater.rater_id], "excluded": "; ".join(rater.reasons)}
        for rater in raters
    ]


def human_scores(verdicts: pd.DataFrame) -> pd.DataFrame:
    """For each image and axis the mean of its votes, as rows of SCORE_SCHEMA: 1 if it always won."""
    sides = [
        verdicts.assign(
            model=verdicts[f"model_{side}"],
            seed=verdicts[f"seed_{side}"],
            sample_index=verdicts[f"sample_index_{side}"],
            value=verdicts["share_a"] if side == "a" else 1 - verdicts["share_a"],
        )
        for side in "ab"
    ]
    image = ["model", "prompt_id", "category", "seed", "sample_index", "axis"]
    rows = pd.concat(sides).groupby(image, sort=False)["value"].agg(["mean", "size"]).reset_index()
    scores: pd.DataFrame = rows.assign(
        metric=HUMAN + rows["axis"],
        kind="win_rate",
        value=rows["mean"],
        truncated=None,
        reason=[f"{n} votes" if n > 1 else "1 vote" for n in rows["size"]],
        error_message=None,
    )
    return scores.reindex(columns=SCORE_SCHEMA.names)


def vote_table(
    votes: Sequence[Vote], raters: Sequence[RaterCheck], names: Mapping[str, str], checks: Checks, key: Key
) -> list[dict[str, Any]]:
    """All votes for publication, those left out as well: raters under names of no meaning, durations but no dates."""
    reasons = {rater.rater_id: "; ".join(rater.reasons) for rater in raters}

    def rows() -> Iterator[dict[str, Any]]:
        for vote in votes:
            pair = key.pairs.get(vote.pair_id)
            yield {
                "rater": names[vote.rater_id],
                "trial_id": vote.trial_id,
                "pair_id": vote.pair_id,
                "prompt_id": vote.prompt_id,
                "category": pair.category if pair else None,
                "axis": vote.axis,
                "model_left": pair.models.get(vote.left_sha256) if pair else None,
                "model_right": pair.models.get(vote.right_sha256) if pair else None,
                "choice": vote.choice,
                "seconds": round(vote.seconds, 3),
                "role": "gold"
                if vote.trial_id in checks.gold
                else "repeat"
                if vote.trial_id in checks.repeats
                else "",
                "excluded": reasons[vote.rater_id],
            }

    return sorted(rows(), key=lambda row: (str(row["rater"]), str(row["trial_id"])))
