"""Two runs side by side: their models on the prompts that both have, paired by seed where the seeds agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from benchmarks.power import power_notes
from benchmarks.report.tables import comparison_cells, csv_text, markdown, score_cells, split_cells
from benchmarks.suites.suite import splits_of
from benchmarks.summary import interval_notes, summarise
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import make_folder, write_json, write_text


def compare(folders: Sequence[Path], *, n_resamples: int, seed: int) -> dict[str, Any]:
    """What `results.json` would say of the models of two run directories, the first model of the first as baseline.

    Only metrics whose identities agree in every field are compared, on the prompts that both runs have; `refused`
    says of each other metric which fields differ. Raises UserError where nothing is left to compare.
    """
    run, other = runs = read_runs(folders)
    kept, refused = _comparable(run, other)
    _refuse_other_prompts(run, other)
    if not kept:
        raise UserError(f"{run.folder} and {other.folder} cannot be compared: {some(refused)}")
    common = [prompt_id for prompt_id in run.prompts if prompt_id in other.prompts]
    if not common:
        raise UserError(f"{run.folder} and {other.folder} cannot be compared: they have no prompt in common")
    names = model_names(runs)
    models = [name for of_run in names for name in of_run.values()]
    scores = joined_scores(runs, names)
    scores = scores[scores["prompt_id"].isin(common) & scores["metric"].isin(kept)]
    prompts = [Prompt(**run.prompts[prompt_id]) for prompt_id in common]
    metrics = {name: run.metrics[name] for name in kept}
    numbers = summarise(
        scores,
        models,
        {name: metric["headline"] for name, metric in metrics.items()},
        n_resamples=n_resamples,
        seed=seed,
        splits=splits_of(run.suite, prompts),
    )
    digits = {name: metric["digits"] for name, metric in metrics.items()}
    return {
        "suite": run.suite,
        "runs": [str(folder) for folder in folders],
        "models": models,
        "n_prompts": len(common),
        "metrics": metrics,
        **numbers,
        "refused": refused,
        "notes": [
            *interval_notes(numbers, n_resamples),
            *power_notes(numbers["power"], digits),
            *_prompt_notes(runs, len(common)),
            *sampling_notes(runs),
        ],
    }


def tell(comparison: dict[str, Any]) -> str:
    """The comparison for people: means, differences by category, what was refused, notes."""
    parts = [markdown(score_cells(comparison)), markdown(comparison_cells(comparison, by_category=True))]
    if comparison["splits"]:
        parts.append(markdown(split_cells(comparison)))
    lines = [*(f"Not compared: {line}" for line in comparison["refused"]), *comparison["notes"]]
    return "\n".join([*parts, *lines])


def write(comparison: dict[str, Any], out: Path) -> None:
    """Write `comparison.json` and the tables as Markdown and CSV. Raises UserError if `out` holds anything."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds files; give an empty or new folder")
    make_folder(out)
    write_text(out / "scores.md", markdown(score_cells(comparison)))
    write_text(out / "scores.csv", csv_text(comparison["scores"]))
    write_text(out / "comparison.md", markdown(comparison_cells(comparison, by_category=True)))
    write_text(out / "comparison.csv", csv_text(comparison["comparisons"]))
    write_json(out / "comparison.json", comparison)


def _comparable(run: FinishedRun, other: FinishedRun) -> tuple[list[str], list[str]]:
    """The metrics that can be compared, and a line on each that cannot."""
    kept, refused = [], []
    for name in dict.fromkeys([*run.metrics, *other.metrics]):
        lacking = next((each.folder for each in (run, other) if name not in each.metrics), None)
        if lacking is not None:
            refused.append(f"{name}: {lacking} has no such scores")
        elif differences := metric_differences(run, other, name):
            refused.append(f"{name}: {some(differences)}")
        elif not all(each.has_image_scores(name) for each in (run, other)):
            refused.append(
                f"{name}: there are no scores of single images to pair; `llm4gen-bench leaderboard` ranks it"
            )
        else:
            kept.append(name)
    return kept, refused


def _refuse_other_prompts(run: FinishedRun, other: FinishedRun) -> None:
    if differences := prompt_differences(run, other):
        raise UserError(f"{run.folder} and {other.folder} cannot be compared: {some(differences)}")


def _prompt_notes(runs: Sequence[FinishedRun], n_common: int) -> Iterator[str]:
    for run in runs:
        n_others = len(run.prompts) - n_common
        if n_others:
            yield f"{n_others:,} of {len(run.prompts):,} prompts of {run.folder} are not in the other run: left out."
