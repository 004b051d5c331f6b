"""Scores -> everything a run leaves: Parquet, results with provenance, tables, the report, and last the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.config import BenchConfig
from benchmarks.images import models_of
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage
from benchmarks.report.page import write_report
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.summary import PAIR, summarise
from benchmarks.tables import comparison_cells, csv_text, markdown, score_cells, share_text
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import write_shard
from llm4gen_data.runs import diff, finish, package_versions, read_json, sha256_file, write_json, write_text

PACKAGES = ("torch", "transformers", "diffusers", "pillow", "numpy", "pandas", "pyarrow")
TABLES = ("tables/scores.csv", "tables/scores.md", "tables/comparison.csv", "tables/comparison.md")
OUTPUTS = ("scores.parquet", "results.json", *TABLES, "report.html")
N_FAILURES_NAMED = 5


def publish(
    config: BenchConfig,
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    scores: pd.DataFrame,
    scored: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    folders: Sequence[Path],
    out: Path,
) -> None:
    """Write all outputs of a run; `scored` says which images and metrics the scores are of."""
    table = pa.Table.from_pandas(scores, schema=SCORE_SCHEMA, preserve_index=False)
    write_shard(out / "scores.parquet", table, scored)
    models = models_of(images)
    numbers = summarise(scores, models, metrics, config)
    made_with = [_made_with(folder) for folder in folders]
    results = {
        "suite": config.suite,
        "models": models,
        "n_prompts": len({image.prompt.prompt_id for image in images}),
        "n_images": len(images),
        "n_failed": len(_failed(scores)),
        "images_sha256": scored["images"]["sha256"],
        "metrics": {
            name: {
                **scored["metrics"][name],
                "headline": metric.headline,
                "unit": metric.unit,
                "digits": metric.digits,
            }
            for name, metric in metrics.items()
        },
        **numbers,
        "notes": [*_notes(config, metrics, numbers), *_sampling_notes(made_with), *_failure_notes(scores)],
        "generated_with": made_with,
        "versions": package_versions(*PACKAGES),
    }
    write_json(out / "results.json", results)
    tables = out / "tables"
    tables.mkdir(exist_ok=True)
    write_text(tables / "scores.csv", csv_text(results["scores"]))
    write_text(tables / "scores.md", markdown(score_cells(results)))
    write_text(tables / "comparison.csv", csv_text(results["comparisons"]))
    compared = (
        markdown(comparison_cells(results, by_category=True))
        if results["comparisons"]
        else "One model: no comparison.\n"
    )
    write_text(tables / "comparison.md", compared)
    write_report(out / "report.html", results, scores, images, metrics, config.max_gallery_rows)
    content = {
        "n_images": len(images),
        "n_failed": results["n_failed"],
        "scored": dict(scored),
        "outputs": [{"path": name, "sha256": sha256_file(out / name)} for name in OUTPUTS],
    }
    finish(out, "run", fingerprint, content, PACKAGES)


def _failed(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each image that some metric could not score."""
    return scores[scores["error_message"].notna()].drop_duplicates(["model", *PAIR])


def _notes(config: BenchConfig, metrics: Mapping[str, Metric], numbers: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the tables must know."""
    yield (
        f"Brackets: 95 % intervals from {config.n_resamples:,} bootstrap resamples of the prompts, "
        "each with all its images."
    )
    if numbers["comparisons"]:
        n_overall = sum(row["category"] is None for row in numbers["comparisons"])
        yield (
            "Differences are of the same prompt, seed and sample; p is two-sided, from the same bootstrap; p (Holm) "
            f"allows for the {n_overall} comparisons over all prompts, or for those by category among themselves."
        )
    for name, metric in metrics.items():
        shares = {
            row["model"]: share_text(row["truncated_share"])
            for row in numbers["scores"]
            if (row["metric"], row["kind"], row["category"]) == (name, metric.headline, None)
            and row["truncated_share"] is not None
        }
        if shares:
            same = len(set(shares.values())) == 1
            told = next(iter(shares.values())) if same else ", ".join(f"{s} ({m})" for m, s in shares.items())
            yield f"{name}: truncated {told}: so many scores are of a prompt that the metric can read only in part."


def _failure_notes(scores: pd.DataFrame) -> Iterator[str]:
    failed = _failed(scores)
    for row in failed.head(N_FAILURES_NAMED).to_dict("records"):
        which = f"{row['model']}, prompt {row['prompt_id']}, seed {row['seed']}, sample {row['sample_index']}"
        yield f"Not scored: {which}: {row['error_message']}"
    if len(failed) > N_FAILURES_NAMED:
        yield f"Not scored: {len(failed) - N_FAILURES_NAMED} more, with their reasons in scores.parquet."


def _made_with(folder: Path) -> dict[str, Any]:
    """What the images' own manifest says of how they were made."""
    try:
        known = read_json(folder / "manifest.json")
    except UserError:  # images can be scored without
        known = None
    return {"folder": folder.name, "fingerprint": known.get("fingerprint") if isinstance(known, dict) else None}


def _sampling_notes(made_with: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each folder whose images were sampled otherwise than those of the first."""
    sampling = [(made["fingerprint"] or {}).get("sampling") for made in made_with]
    for made, other in zip(made_with[1:], sampling[1:], strict=True):
        if isinstance(sampling[0], dict) and isinstance(other, dict) and other != sampling[0]:
            changed = "; ".join(diff(sampling[0], other))
            yield f"Sampled differently: {made_with[0]['folder']} -> {made['folder']}: {changed}"
