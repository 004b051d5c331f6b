"""The numbers that a benchmark publishes where they are not means over images: its own way to sum up a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from benchmarks.metrics.dpg import ANSWERS, answers_from_text
from benchmarks.stats import clustered_mean
from benchmarks.suites import dpg, geneval
from benchmarks.suites.dpg_prompts import questions_of

if TYPE_CHECKING:
    import pandas as pd

    from llm4gen_data.records import Prompt

Rows = list[dict[str, Any]]


def benchmark_rows(scores: pd.DataFrame, prompts: Mapping[str, Prompt], *, n_resamples: int, seed: int) -> Rows:
    """Rows of `scores` in results.json with a `note`, of those metrics among the scores that have such numbers.

    `scores` has the columns of `scoring.SCORE_SCHEMA`, `prompts` are by id. Each kind has a row for every model.
    """
    rows: Rows = []
    geneval_scores = _by_model(scores, "geneval")
    for model, own in geneval_scores.items():
        rows.append(_geneval_row(model, own, {"n_resamples": n_resamples, "seed": seed}))
    dpg_scores = _by_model(scores, "dpg")
    found = {model: _dpg_numbers(own, prompts) for model, own in dpg_scores.items()}
    for kind in dict.fromkeys(kind for numbers, _ in found.values() for kind in numbers):
        for model, (numbers, note) in found.items():
            of_images = dpg_scores[model][dpg_scores[model]["kind"] != ANSWERS]
            rows.append(_row(model, "dpg", kind, numbers.get(kind), of_images, note))
    return rows


def _by_model(scores: pd.DataFrame, metric: str) -> dict[str, pd.DataFrame]:
    chosen = scores[scores["metric"] == metric]
    return {str(model): chosen[chosen["model"] == model] for model in dict.fromkeys(chosen["model"])}


def _geneval_row(model: str, scores: pd.DataFrame, settings: Mapping[str, int]) -> dict[str, Any]:
    """The mean of the six tasks' means. No number without images of all six."""
    known = scores[scores["value"].notna() & scores["category"].isin(geneval.TASKS)]
    counts = known.groupby("category")["value"].size().to_dict()
    missing = [task for task in geneval.TASKS if task not in counts]
    if missing:
        return _row(model, "geneval", "overall", None, scores, f"needs all six tasks, {missing[0]} is missing")
    # Weighted so that the mean over images is the mean over tasks; the interval is clustered by prompt as elsewhere.
    weights = known["category"].map({task: len(known) / len(geneval.TASKS) / n for task, n in counts.items()})
    mean = clustered_mean(known["value"] * weights, list(known["prompt_id"]), **settings)
    note = "the mean of the means of GenEval's six tasks; `correct` is over images"
    row = _row(model, "geneval", "overall", mean.mean, scores, note)
    return {**row, "low": mean.low, "high": mean.high}


def _dpg_numbers(scores: pd.DataFrame, prompts: Mapping[str, Prompt]) -> tuple[dict[str, float | None], str]:
    """By kind, overall and by category of question; and what they are of."""
    mode = next(str(kind) for kind in scores["kind"] if kind != ANSWERS)
    given = scores[(scores["kind"] == ANSWERS) & scores["value"].notna()].sort_values(["sample_index", "seed"])
    answers = {
        str(prompt_id): [cell for text in own["reason"] for cell in answers_from_text(text)]
        for prompt_id, own in given.groupby("prompt_id", sort=False)
    }
    n_pictures = max(map(len, answers.values()), default=0)
    questions = [question for prompt_id in answers for question in questions_of(prompts[prompt_id])]
    found = dpg.aggregate(questions, answers, n_pictures, protocol=cast(dpg.Mode, mode))
    uneven = f"; {len(found.problems)} prompts have fewer" if found.problems else ""
    numbers = {
        f"{mode} overall": found.overall,
        **{f"{mode}, level 1: {name}": value for name, value in found.per_broad_category.items()},
        **{f"{mode}, level 2: {name}": value for name, value in found.per_category.items()},
    }
    return numbers, f"DPG-Bench's own sum over questions, {mode}, {n_pictures} pictures a prompt{uneven}"


def _row(model: str, metric: str, kind: str, value: float | None, scores: pd.DataFrame, note: str) -> dict[str, Any]:
    known = scores[scores["value"].notna()]
    return {
        "model": model,
        "metric": metric,
        "kind": kind,
        "category": None,
        "mean": None if value is None else float(value),
        "low": None,
        "high": None,
        "n_prompts": int(known["prompt_id"].nunique()),
        "n_images": 0 if value is None else len(known),
        "n_failed": len(scores) - len(known),
        "truncated_share": None,
        "note": note,
    }
