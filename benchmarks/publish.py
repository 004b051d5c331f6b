"""Scores -> everything a run leaves: Parquet, results with provenance, tables, the report, and last the manifest."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.config import BenchConfig
from benchmarks.corpus import corpus_notes, is_corpus_metric
from benchmarks.images import models_of
from benchmarks.metrics.metric import Metric
from benchmarks.power import power_notes
from benchmarks.records import BenchImage
from benchmarks.report.latex import latex_table
from benchmarks.report.layout import paper_latex, paper_markdown, paper_rows, paper_table
from benchmarks.report.page import write_report
from benchmarks.report.published import published_for
from benchmarks.report.tables import comparison_cells, csv_text, markdown, score_cells, share_text
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.suites.benchmark_scores import benchmark_rows
from benchmarks.suites.suite import splits_of
from benchmarks.summary import PAIR, interval_notes, summarise
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import diff, finish, package_versions, read_json, sha256_file, write_json, write_text

PACKAGES = ("torch", "transformers", "diffusers", "pillow", "numpy", "pandas", "pyarrow")
OUTPUTS = ("scores.parquet", "prompts.parquet", "results.json")
N_FAILURES_NAMED = 5


def publish(
    config: BenchConfig,
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    scores: pd.DataFrame,
    corpus: Sequence[Mapping[str, Any]],
    scored: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    folders: Sequence[Path],
    out: Path,
) -> None:
    """Write all outputs of a run; `scored` says which images and metrics the scores are of."""
    table = pa.Table.from_pandas(scores, schema=SCORE_SCHEMA, preserve_index=False)
    write_shard(out / "scores.parquet", table, scored)
    models = models_of(images)
    prompts = {image.prompt.prompt_id: image.prompt for image in images}
    write_shard(out / "prompts.parquet", pa.Table.from_pylist(list(map(asdict, prompts.values())), PROMPT_SCHEMA))
    numbers = summarise(
        scores,
        models,
        {name: metric.headline for name, metric in metrics.items() if not is_corpus_metric(metric)},
        n_resamples=config.n_resamples,
        seed=config.bootstrap_seed,
        splits=splits_of(config.suite, prompts.values()),
    )
    summed_up = benchmark_rows(scores, prompts, n_resamples=config.n_resamples, seed=config.bootstrap_seed)
    corpus = [*corpus, *summed_up]
    made_with = [_made_with(folder) for folder in folders]
    results = {
        "suite": config.suite,
        "models": models,
        "n_prompts": len(prompts),
        "n_images": len(images),
        "n_failed": len(_failed(scores)),
        "images_sha256": scored["images"]["sha256"],
        "metrics": {
            name: {
                **scored["metrics"][name],
                "headline": metric.headline,
                "unit": metric.unit,
                "digits": metric.digits,
                "higher_is_better": getattr(metric, "higher_is_better", True),
            }
            for name, metric in metrics.items()
        },
        **numbers,
        "notes": [
            *_notes(config, metrics, numbers),
            *corpus_notes(corpus),
            *_sampling_notes(made_with),
            *_failure_notes(scores),
        ],
        "generated_with": made_with,
        "versions": package_versions(*PACKAGES),
    }
    results["scores"] += [{key: value for key, value in row.items() if key != "note"} for row in corpus]
    write_json(out / "results.json", results)
    outputs = [*OUTPUTS, *_write_tables(out, results, {image.prompt.category for image in images})]
    outputs += write_report(out, results, scores, images, metrics, config.max_gallery_rows)
    content = {
        "n_images": len(images),
        "n_failed": results["n_failed"],
        "scored": dict(scored),
        "outputs": [{"path": name, "sha256": sha256_file(out / name)} for name in outputs],
    }
    finish(out, "run", fingerprint, content, PACKAGES)


def _write_tables(out: Path, results: Mapping[str, Any], categories: Collection[str]) -> list[str]:
    """Every table as CSV, Markdown and LaTeX; where the suite has a table in the paper, one in its layout as well.

    Returns the paths of the files in `out`.
    """
    scores = score_cells(results)
    compared = comparison_cells(results, by_category=True)
    files = {
        "tables/scores.csv": csv_text(results["scores"]),
        "tables/scores.md": markdown(scores),
        "tables/scores.tex": latex_table([("", scores[1:])], scores[0], f"{results['suite']}.", "tab:scores"),
        "tables/comparison.csv": csv_text(results["comparisons"]),
        "tables/comparison.md": markdown(compared) if results["comparisons"] else "One model: no comparison.\n",
    }
    if results["comparisons"]:
        caption = f"{results['suite']}: differences to {results['models'][0]}."
        files["tables/comparison.tex"] = latex_table([("", compared[1:])], compared[0], caption, "tab:comparison")
    published = published_for(results["suite"])
    if published is not None:
        table = paper_table(results, categories, published)
        files["tables/paper.json"] = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
        files["tables/paper.csv"] = csv_text(paper_rows(table))
        files["tables/paper.md"] = paper_markdown(table)
        files["tables/paper.tex"] = paper_latex(table)
    (out / "tables").mkdir(exist_ok=True)
    for name, text in files.items():
        write_text(out / name, text)
    return list(files)


def _failed(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each image that some metric could not score."""
    return scores[scores["error_message"].notna()].drop_duplicates(["model", *PAIR])


def _notes(config: BenchConfig, metrics: Mapping[str, Metric], numbers: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the tables must know."""
    yield from interval_notes(numbers, config.n_resamples)
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
    yield from power_notes(numbers["power"], {name: metric.digits for name, metric in metrics.items()})


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
