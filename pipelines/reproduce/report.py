"""Tables and figure of an experiment, from the data that is kept of it and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.probes.tables import probe_cells, probe_notes
from llm4gen_data.config import load_config
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json, write_text
from pipelines.reproduce.figure import draw, draw_examples
from pipelines.reproduce.numbers import Recorded, numbers
from pipelines.reproduce.plan import CHOICES
from pipelines.reproduce.preset import Preset
from pipelines.reproduce.record import ATTENTION, EXAMPLES, RUNS
from pipelines.reproduce.wording import results_text

FIGURE, GRID, RESULTS = "results.png", "examples.png", "results.json"


def write_report(record: Path, out: Path) -> None:
    """Write `results.json`, `results.md` and `results.png` of a record. Raises UserError for a folder without one."""
    out.mkdir(parents=True, exist_ok=True)
    write_results(record, out)
    write_text(out / "results.md", report_text(record, read_json(out / RESULTS)))
    if (record / ATTENTION).is_file() and record != out:
        shutil.copyfile(record / ATTENTION, out / ATTENTION)
    print(f"results: {out / 'results.md'}")


def write_results(record: Path, out: Path) -> None:
    """Write what is calculated, `results.json`, and the figure. Raises UserError for a folder without a record."""
    recorded = read_record(record)
    results = numbers(recorded)
    runs = read_json(record / RUNS)["runs"]
    # a part of an experiment may have no arm of the claim
    examples = pd.read_parquet(record / EXAMPLES) if (record / EXAMPLES).is_file() else pd.DataFrame()
    told = {"title": recorded.preset.title, **results, "runs": runs, "has_examples": not examples.empty}
    write_json(out / RESULTS, told)
    draw(recorded.preset, results, out / FIGURE)
    if not examples.empty:
        draw_examples(recorded.preset, examples, recorded.prompts, out / GRID)


def report_text(record: Path, results: dict[str, Any]) -> str:
    """The results of a record in words and tables."""
    preset, runs = read_preset(record), read_json(record / RUNS)
    return results_text(preset, results, list(_about(preset, runs)), _probes(record), source_text(runs))


def read_preset(record: Path) -> Preset:
    """The preset of a record. Raises UserError for a folder without one."""
    if not (record / "scores.parquet").is_file():
        raise UserError(f"{record}: no scores.parquet; expected the folder `record` of a finished experiment")
    return load_config(Preset, record / "preset.yaml")


def read_record(record: Path) -> Recorded:
    """The data that `record.write_record` gathered. Raises UserError if there is none."""
    preset = read_preset(record)
    choices = read_json(record / CHOICES)
    scores, prompts = (pd.read_parquet(record / name) for name in ("scores.parquet", "prompts.parquet"))
    return Recorded(preset, scores, prompts, choices["primary_kind"], choices["reached_on_validation"])


def _probes(record: Path) -> dict[str, Any]:
    found = {name: read_json(record / f"{name}.json") for name in ("twins", "before", "after") if _has(record, name)}
    for name in ("before", "after"):
        if name in found:
            found[name] |= {"cells": probe_cells(found[name]), "notes": probe_notes(found[name])}
    return found | ({"attention": ATTENTION} if (record / ATTENTION).is_file() else {})


def _has(record: Path, name: str) -> bool:
    return (record / f"{name}.json").is_file()


def _about(preset: Preset, runs: dict[str, Any]) -> list[str]:
    """When, on what, how long, with which versions."""
    trained = [run for run in runs["runs"] if "finished_at" in run]
    seconds = sum(job["seconds"] for job in runs["jobs"])
    lines = [f"{len(runs['jobs'])} commands, {seconds / 3600:.1f} hours of commands, some side by side"]
    if trained:
        machines = ", ".join(sorted({run["machine"] for run in trained}))
        first, last = (pick(run["finished_at"] for run in trained)[:10] for pick in (min, max))
        versions = ", ".join(f"{name} {version}" for name, version in trained[0]["versions"].items())
        lines += [
            f"{len(trained)} trainings of {trained[0]['n_steps']:,} steps on {machines}, {first} to {last}",
            f"versions: {versions}",
        ]
    return [
        *lines,
        f"prompts: `{preset.prompts}`, seed {preset.prompt_seed}; "
        f"{preset.num_inference_steps} denoising steps; one picture a prompt, the same noise for all arms",
        "tables and figure again from the kept data: `python -m pipelines.reproduce --record FOLDER`",
    ]


def source_text(runs: dict[str, Any]) -> str:
    """What stands below every table: date, device, seeds, commit, command."""
    seeds = sorted({run["seed"] for run in runs.get("runs", [])})
    trained = f"; training seeds {seeds[0]} to {seeds[-1]}" if seeds else ""
    finished = max((job["finished_at"] for job in runs["jobs"]), default="")[:10]
    commit = f"commit {', '.join(runs['commits'])}" if runs["commits"] else "no commit"
    told = f"{finished}; {', '.join(runs['devices'])}{trained}; {commit}"
    return " ".join([f"*{told};*", *(f"`{command}`" for command in runs["commands"])])
