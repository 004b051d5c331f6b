"""How often the intervals of a study's win rates hold the truth, in simulated studies.

Run it by `python -m tests.performance.study_coverage`.

Votes are of a logistic model in which prompts and raters lean to either model; the truth is the mean over both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from benchmarks.study.clustered import clusters_of, two_way_mean
from benchmarks.study.strengths import bradley_terry


@dataclass(frozen=True, slots=True)
class Setting:
    """`prompt_sd` and `rater_sd` are standard deviations on the logit scale; each rater votes on `votes_per_rater`."""

    n_prompts: int
    n_raters: int
    votes_per_rater: int
    logit: float
    prompt_sd: float
    rater_sd: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of studies whose 95 % interval holds the truth, and the mean width of those intervals."""

    two_way: float
    two_way_width: float
    wilson: float
    wilson_width: float


STRENGTHS = {"a": 0.9, "b": 0.3, "c": -0.2, "d": -1.0}

SETTINGS = {
    "independent": Setting(40, 10, 20, 0.0, 0.0, 0.0),
    "prompts": Setting(40, 10, 20, 0.0, 1.0, 0.0),
    "prompts and raters": Setting(40, 10, 20, 0.4, 1.0, 0.7),
    "far from a half": Setting(40, 10, 20, 2.4, 0.5, 0.5),
    "few of both": Setting(20, 5, 20, 0.4, 1.0, 0.5),
    "three raters": Setting(30, 3, 30, 0.4, 1.0, 0.3),
    "many of both": Setting(100, 30, 20, 0.4, 1.0, 0.7),
}


def coverage(setting: Setting, n_studies: int, n_resamples: int) -> Coverage:
    """Simulate `n_studies` and see how often either interval holds the true win rate."""
    spread = np.hypot(setting.prompt_sd, setting.rater_sd)
    truth = float(expit(setting.logit + spread * np.random.default_rng(0).normal(size=400_000)).mean())
    hits, widths = np.zeros(2), np.zeros(2)
    for study in range(n_studies):
        rng = np.random.default_rng([1, study])
        of_prompt = rng.normal(0, setting.prompt_sd, setting.n_prompts)
        of_rater = rng.normal(0, setting.rater_sd, setting.n_raters)
        n_each = min(setting.votes_per_rater, setting.n_prompts)
        prompts = np.concatenate([rng.choice(setting.n_prompts, n_each, False) for _ in range(setting.n_raters)])
        raters = np.repeat(np.arange(setting.n_raters), n_each)
        votes = (rng.random(len(raters)) < expit(setting.logit + of_prompt[prompts] + of_rater[raters])).astype(float)
        clusters = clusters_of(list(map(str, prompts)), list(map(str, raters)))
        ours = two_way_mean(votes, clusters, n_resamples=n_resamples, seed=study)
        wilson = proportion_confint(votes.sum(), len(votes), method="wilson")
        ends = ((ours.low, ours.high), wilson)
        for i, (low, high) in enumerate(ends):
            if low is not None and high is not None:  # no interval is no cover
                hits[i] += low <= truth <= high
                widths[i] += high - low
    return Coverage(
        *(float(value) for pair in zip(hits / n_studies, widths / n_studies, strict=True) for value in pair)
    )


def verdicts(n_prompts: int, n_raters: int, prompt_sd: float, rng: np.random.Generator) -> pd.DataFrame:
    """Every rater judges one pair of STRENGTHS a prompt; a model is better or worse at a prompt by `prompt_sd`."""
    names = np.array(list(STRENGTHS))
    at_prompt = np.array(list(STRENGTHS.values())) + rng.normal(0, prompt_sd, (n_prompts, len(names)))
    prompts, raters = np.divmod(np.arange(n_prompts * n_raters), n_raters)
    first = rng.integers(len(names), size=len(prompts))
    second = (first + rng.integers(1, len(names), size=len(prompts))) % len(names)
    won = rng.random(len(prompts)) < expit(at_prompt[prompts, first] - at_prompt[prompts, second])
    columns = {"prompt_id": prompts.astype(str), "rater_id": raters.astype(str)}
    return pd.DataFrame({**columns, "model_a": names[first], "model_b": names[second], "share_a": won.astype(float)})


def strength_coverage(prompt_sd: float, n_studies: int, n_resamples: int) -> float:
    """The share of models and studies whose interval holds the strength that a thousand times the prompts give."""
    models = list(STRENGTHS)
    many = bradley_terry(verdicts(40_000, 8, prompt_sd, np.random.default_rng(0)), models, n_resamples=1)
    truth = {row["model"]: row["strength"] for row in many}
    hits = 0
    for study in range(n_studies):
        table = verdicts(40, 8, prompt_sd, np.random.default_rng([2, study]))
        rows = bradley_terry(table, models, n_resamples=n_resamples, seed=study)
        hits += sum(row["low"] <= truth[row["model"]] <= row["high"] for row in rows)
    return hits / (n_studies * len(models))


def main() -> None:
    """Print a table of all settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    print("| setting | two-way | width | Wilson | width |\n|---|---|---|---|---|")
    for name, setting in SETTINGS.items():
        found = coverage(setting, arguments.studies, arguments.resamples)
        print(
            f"| {name} | {found.two_way:.3f} | {found.two_way_width:.3f} "
            f"| {found.wilson:.3f} | {found.wilson_width:.3f} |"
        )
    for prompt_sd in (0.0, 0.8):
        share = strength_coverage(prompt_sd, arguments.studies // 10, arguments.resamples // 2)
        print(f"Bradley-Terry, prompts by {prompt_sd}: {share:.3f}")


if __name__ == "__main__":
    main()
