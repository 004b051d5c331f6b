"""Finished runs read back, and what keeps two of them from standing in one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.scoring import SCORE_SCHEMA
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import PROMPT_SCHEMA, open_parquet
from llm4gen_data.runs import diff, is_complete, read_json

SCORE_KEYS = {"model", "metric", "kind", "category", "mean", "low", "high", "n_prompts", "n_images", "n_failed"}
N_NAMED = 3  # of many differences, so many are named


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run directory of `llm4gen-bench run`: `results.json`, `scores.parquet`, and the prompts by id."""

    folder: Path
    results: dict[str, Any]
    scores: pd.DataFrame
    prompts: dict[str, dict[str, Any]]

    @property
    def suite(self) -> str:
        """The suite with version and mode."""
        return str(self.results["suite"])

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The identity of each metric, with its headline kind, unit and digits."""
        found: dict[str, dict[str, Any]] = self.results["metrics"]
        return found

    def has_image_scores(self, metric: str) -> bool:
        """Whether single images have values; not so where a metric judges all of them together."""
        return bool((self.scores["metric"].eq(metric) & self.scores["value"].notna()).any())


def read_run(folder: Path) -> FinishedRun:
    """Raises UserError for a folder that holds no finished run of `llm4gen-bench run`."""
    if not is_complete(folder):
        raise UserError(f"{folder}: no finished run of llm4gen-bench run (no manifest.json)")
    manifest, results = read_json(folder / "manifest.json"), read_json(folder / "results.json")
    if not isinstance(manifest, dict) or manifest.get("command") != "run" or not isinstance(results, dict):
        raise UserError(f"{folder}: expected a run of llm4gen-bench run")
    if problem := _problem(results):
        raise UserError(f"{folder / 'results.json'}: {problem}: not what this version of llm4gen-bench run writes")
    scores = _table(folder / "scores.parquet", SCORE_SCHEMA.names)
    prompts = _table(folder / "prompts.parquet", PROMPT_SCHEMA.names).astype(object)
    rows: list[dict[str, Any]] = prompts.where(prompts.notna(), None).to_dict("records")  # type: ignore[assignment]
    return FinishedRun(folder, results, scores, {str(row["prompt_id"]): row for row in rows})


def _problem(results: dict[str, Any]) -> str | None:
    """What in `results.json` is not as `run` writes it, of all that is read of it here."""
    lists, mappings = ("models", "scores", "comparisons", "generated_with"), ("metrics",)
    for key, kind in (*((k, list) for k in lists), *((k, dict) for k in mappings), ("suite", str)):
        if not isinstance(results.get(key), kind):
            return f"no {key}"
    if not all(isinstance(model, str) for model in results["models"]):
        return "models: expected names"
    for name, metric in results["metrics"].items():
        if not isinstance(metric, dict) or not isinstance(metric.get("headline"), str):
            return f"metrics.{name}: expected its identity with a headline"
        if not isinstance(metric.get("digits"), int):
            return f"metrics.{name}: no digits"
    for number, row in enumerate(results["scores"]):
        if not isinstance(row, dict) or not row.keys() >= SCORE_KEYS or row["model"] not in results["models"]:
            return f"scores[{number}]: expected {', '.join(sorted(SCORE_KEYS))}"
        for key in ("mean", "low", "high"):
            if row[key] is not None and not (isinstance(row[key], int | float) and math.isfinite(row[key])):
                return f"scores[{number}].{key}: expected a number"
    if not all(isinstance(entry, dict) for entry in results["generated_with"]):
        return "generated_with: expected an entry a folder"
    return None


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """As `read_run`, for several. Raises UserError also for the same folder twice."""
    for i, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:i]]:
            raise UserError(f"{folder}: given twice")
    return [read_run(folder) for folder in folders]


def metric_differences(run: FinishedRun, other: FinishedRun, metric: str) -> list[str]:
    """What keeps the scores of `metric` in the two runs from one table: the fields with both values; none if nothing.

    Everything in the identity of a metric changes its values, so every field counts.
    """
    return diff({"suite": run.suite, **run.metrics[metric]}, {"suite": other.suite, **other.metrics[metric]})


def prompt_differences(run: FinishedRun, other: FinishedRun) -> list[str]:
    """Prompts that have the same id in both runs but are not the same; their fields with both values."""
    common = [prompt_id for prompt_id in run.prompts if prompt_id in other.prompts]
    return [
        f"prompt {prompt_id!r}: {'; '.join(changed)}"
        for prompt_id in common
        if (changed := diff(run.prompts[prompt_id], other.prompts[prompt_id]))
    ]


def model_names(runs: Sequence[FinishedRun]) -> list[dict[str, str]]:
    """For each run its models' names in a common table: their own where no other run has the same, else RUN:MODEL."""
    everywhere = [model for run in runs for model in run.results["models"]]
    folders = [run.folder.resolve().name for run in runs]
    shown = [name if folders.count(name) == 1 else str(run.folder) for run, name in zip(runs, folders, strict=True)]
    return [
        {model: model if everywhere.count(model) == 1 else f"{folder}:{model}" for model in run.results["models"]}
        for run, folder in zip(runs, shown, strict=True)
    ]


def joined_scores(runs: Sequence[FinishedRun], names: Sequence[dict[str, str]]) -> pd.DataFrame:
    """The scores of all runs in one table, models under their common `names`."""
    return pd.concat(
        [run.scores.assign(model=run.scores["model"].map(of_run)) for run, of_run in zip(runs, names, strict=True)],
        ignore_index=True,
    )


def sampling_notes(runs: Iterable[FinishedRun]) -> Iterator[str]:
    """A line for each folder of images that was sampled otherwise than the first; no reason to refuse, but to know."""
    made = [(run.folder, entry) for run in runs for entry in run.results["generated_with"]]
    fingerprints = [(folder, entry.get("fingerprint")) for folder, entry in made]
    known = [(folder, found.get("sampling") if isinstance(found, dict) else None) for folder, found in fingerprints]
    for folder, sampling in known[1:]:
        first = known[0][1]
        if isinstance(first, dict) and isinstance(sampling, dict) and sampling != first:
            yield f"Sampled differently: {known[0][0]} -> {folder}: {some(diff(first, sampling))}"


def some(parts: Sequence[str]) -> str:
    """The first ones, and how many more there are."""
    more = f" and {len(parts) - N_NAMED} more" if len(parts) > N_NAMED else ""
    return "; ".join(parts[:N_NAMED]) + more


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    file = open_parquet(path)
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}: not what this version of llm4gen-bench run writes")
    table: pd.DataFrame = file.read(columns=list(columns)).to_pandas()
    return table
