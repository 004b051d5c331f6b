"""Models of many runs in one ranking a metric; what is not comparable is refused, with the fields that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison.finished import (
    FinishedRun,
    joined_scores,
    metric_differences,
    model_names,
    prompt_differences,
    read_runs,
    sampling_notes,
    some,
)
from benchmarks.report.tables import Rows, estimate_text, markdown, p_text
from benchmarks.summary import interval_notes, summarise
from llm4gen_data.errors import UserError

HEADER = ["rank", "model", "run", "mean", "difference to the first", "p (Holm)", "prompts", "images", "failed"]
LEVEL = 0.05


def leaderboard(
    folders: Sequence[Path], metrics: Sequence[str] = (), *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """A ranking of all models by each metric (none named: all that the runs have), by the headline kind.

    For each metric the first run that has it sets what is comparable: suite, prompts, and every field of the metric's
    identity. `refused` says of each other run which fields differ. Models are ranked by their mean; each but the first
    has its paired difference to the first, and `is_separated` where p (Holm, of this ranking) is below 0.05.

    Raises UserError for a metric that no run has, or where no ranking of two models is left.
    """
    runs = read_runs(folders)
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in metrics:
        if name not in known:
            raise UserError(f"metric {name!r}: no run has it; they have {', '.join(known)}")
    names = dict(zip([run.folder for run in runs], model_names(runs), strict=True))
    rankings, refused = [], []
    for name in metrics or known:
        kept, reasons = _comparable(runs, name)
        refused += reasons
        ranking = _ranking(kept, [names[run.folder] for run in kept], name, n_resamples, seed)
        rankings.append({"metric": name, **ranking})
    if all(len(ranking["rows"]) < 2 for ranking in rankings):
        raise UserError(f"nothing to rank: {some(refused) or 'the runs have one model'}")
    return {
        "runs": [str(folder) for folder in folders],
        "rankings": rankings,
        "refused": refused,
        "notes": [*interval_notes({"comparisons": []}, n_resamples), *_notes(), *sampling_notes(runs)],
    }


def tell(board: dict[str, Any]) -> str:
    """The rankings for people, and what was refused."""
    parts = []
    for ranking in board["rankings"]:
        better = "higher" if ranking["higher_is_better"] else "lower"
        title = f"{ranking['metric']} ({ranking['kind']}, {ranking['unit']}, {better} is better), {ranking['suite']}"
        parts += [title, "", markdown(_cells(ranking))]
    lines = [*(f"Refused: {line}" for line in board["refused"]), *board["notes"]]
    return "\n".join([*parts, *lines])


def _comparable(runs: Sequence[FinishedRun], metric: str) -> tuple[list[FinishedRun], list[str]]:
    """The runs that share a table with the first that has the metric, and a line on each other."""
    having = [run for run in runs if metric in run.metrics]
    first, kept, refused = having[0], having[:1], []
    for run in having[1:]:
        differences = [
            *metric_differences(first, run, metric),
            *prompt_differences(first, run),
            *_prompt_set_differences(first, run),
            *_corpus_differences(first, run, metric),
        ]
        if differences:
            refused.append(f"{run.folder}: {metric}: {some(differences)} (against {first.folder})")
        else:
            kept.append(run)
    return kept, refused


def _prompt_set_differences(run: FinishedRun, other: FinishedRun) -> list[str]:
    missing, added = run.prompts.keys() - other.prompts.keys(), other.prompts.keys() - run.prompts.keys()
    if not missing and not added:
        return []
    counts = f"{len(run.prompts):,} -> {len(other.prompts):,}"
    return [f"prompts: {counts} ({len(missing):,} are missing, {len(added):,} are others)"]


def _corpus_differences(run: FinishedRun, other: FinishedRun, metric: str) -> list[str]:
    """Numbers of a whole set of images, such as FID, depend on how many there are."""
    if run.has_image_scores(metric):
        return []
    counts = [{row["n_images"] for row in each.results["scores"] if row["metric"] == metric} for each in (run, other)]
    numbers = ["/".join(map(str, sorted(count))) for count in counts]
    return [f"n_images: {numbers[0]} -> {numbers[1]}"] if counts[0] != counts[1] else []


def _ranking(
    runs: Sequence[FinishedRun], names: Sequence[dict[str, str]], metric: str, n_resamples: int, seed: int
) -> dict[str, Any]:
    """The models of runs that are comparable, best first."""
    identity = runs[0].metrics[metric]
    kind, higher = identity["headline"], identity.get("higher_is_better", True)
    rows = [
        {"rank": 0, "run": str(run.folder), **row, "model": of_run[row["model"]]}
        for run, of_run in zip(runs, names, strict=True)
        for row in run.results["scores"]
        if (row["metric"], row["kind"], row["category"]) == (metric, kind, None) and row["mean"] is not None
    ]
    rows.sort(key=lambda row: -row["mean"] if higher else row["mean"])
    models = [row["model"] for row in rows]
    scores = joined_scores(runs, names)
    scores = scores[(scores["metric"] == metric) & (scores["kind"] == kind)].assign(category="all")
    against_first: dict[str, dict[str, Any]] = {}
    if models and not scores.empty:
        numbers = summarise(scores, models, {metric: kind}, n_resamples=n_resamples, seed=seed)
        against_first = {row["model"]: row for row in numbers["comparisons"]}
    for rank, row in enumerate(rows, start=1):
        difference = against_first.get(row["model"])
        row["rank"] = rank
        row["difference"] = difference
        p = difference["p_holm"] if difference else None
        row["is_separated"] = None if difference is None else p is not None and p < LEVEL
    return {
        "kind": kind,
        "unit": identity.get("unit", ""),
        "suite": runs[0].suite,
        "higher_is_better": higher,
        "digits": identity["digits"],
        "identity": identity,
        "rows": rows,
    }


def _cells(ranking: dict[str, Any]) -> Rows:
    digits = ranking["digits"]
    rows = [HEADER]
    for row in ranking["rows"]:
        difference = row["difference"]
        told = ["-", "-"]
        if difference is not None:
            told = [estimate_text(difference, digits, sign="+"), p_text(difference["p_holm"])]
        mark = "" if row["is_separated"] in (True, None) else " *"
        counts = [str(row[name]) for name in ("n_prompts", "n_images", "n_failed")]
        rows.append([f"{row['rank']}{mark}", row["model"], row["run"], estimate_text(row, digits), *told, *counts])
    return rows


def _notes() -> list[str]:
    return [
        "Differences to the first are of the same prompt, seed and sample, or of the same prompt where the seeds "
        "differ; * not separated from the first: p (Holm, of that ranking) is not below 0.05."
    ]
