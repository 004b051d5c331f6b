"""What is kept of an experiment, small enough to commit: every score, and how every run came about."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.comparison.finished import read_run
from llm4gen_data.config import to_plain
from llm4gen_data.runs import atomic_path, read_json, write_json, write_text
from llm4gen_data.scenes.facts import facts_from_json
from llm4gen_model.training.metrics import read_metrics
from pipelines.reproduce.plan import CHOICES, run_name
from pipelines.reproduce.preset import Preset
from pipelines.reproduce.progress import markers

RUNS, ATTENTION, EXAMPLES = "runs.json", "attention.png", "examples.parquet"
N_EXAMPLES = 1  # prompts of each category, the first ones
PROBES = ("twins.json", "before.json", "after.json")


def write_record(preset: Preset, out: Path, record: Path, command: str) -> None:
    """Gather in `record` all that tables and figure are made of: preset, choices, scores, prompts, runs, probes.

    `command` is the line that began the experiment.
    """
    record.mkdir(exist_ok=True)
    write_text(record / "preset.yaml", yaml.safe_dump(to_plain(preset), sort_keys=False, allow_unicode=True))
    shutil.copyfile(out / CHOICES, record / CHOICES)
    run = read_run(out / "test" / "scores")
    choices = read_json(out / CHOICES)["choices"]
    runs = [
        {"arm": name, "seed": seed, "run": run_name(name, choices[name]["learning_rate"] if arm.train else None, seed)}
        for name, arm in preset.chosen_arms().items()
        for seed in range(arm.seeds if arm.train else 1)
    ]
    by_model = {row["run"]: row for row in runs}
    scores = run.scores[["model", "prompt_id", "kind", "value"]].copy()
    # the base has the name of its model, and no training
    named = scores["model"].where(scores["model"].isin(by_model), next(iter(_untrained(preset)), "base"))
    scores["arm"] = named.map(lambda model: by_model[model]["arm"] if model in by_model else model)
    scores["seed"] = named.map(lambda model: by_model[model]["seed"] if model in by_model else 0).astype("int32")
    with atomic_path(record / "scores.parquet") as temporary:
        columns = ["arm", "seed", "prompt_id", "kind", "value"]
        scores[columns].to_parquet(temporary, index=False, compression="zstd")
    prompts = pd.DataFrame([prompt_row(prompt) for prompt in run.prompts.values()])
    with atomic_path(record / "prompts.parquet") as temporary:
        prompts.to_parquet(temporary, index=False, compression="zstd")
    with atomic_path(record / EXAMPLES) as temporary:
        _examples(preset, out, runs, prompts).to_parquet(temporary, index=False)
    write_json(record / RUNS, {**how_it_ran(out, command, preset.device), "runs": [_told(row, out) for row in runs]})
    for name in (*PROBES, ATTENTION):
        if (out / "probes" / name).is_file():
            shutil.copyfile(out / "probes" / name, record / name)


def how_it_ran(out: Path, command: str, device: str) -> dict[str, Any]:
    """The line that began it, the commits and the device it ran with, and every command with its time."""
    jobs = markers(out)
    for job in jobs:
        job["words"] = [word.replace(str(out), "OUT") for word in job["words"]]
    commits = list(dict.fromkeys(job["commit"] for job in jobs if job["commit"]))
    return {"commands": [command], "commits": commits, "devices": [_device(device)], "jobs": jobs}


def objects_asked(spec: str | None) -> int:
    """How many objects a prompt asks for."""
    return len(facts_from_json(spec or "").objects)


def prompt_row(prompt: dict[str, Any]) -> dict[str, Any]:
    """A prompt with what it is sorted by: objects, whether some are alike, relations."""
    facts = facts_from_json(prompt["spec"] or "")
    return {
        **{key: prompt[key] for key in ("prompt_id", "prompt", "category", "n_words", "spec")},
        "n_objects": len(facts.objects),
        "has_equal_objects": len(set(facts.objects)) < len(facts.objects),
        "n_relations": len(facts.relations),
    }


def _examples(preset: Preset, out: Path, runs: list[dict[str, Any]], prompts: pd.DataFrame) -> pd.DataFrame:
    """Pictures, as PNG, of the first prompts by the first seed of each arm of the claim."""
    claim = preset.claim
    shown = {*claim.arms, *claim.rivals, claim.control, claim.oracle}
    first = set(prompts.groupby("category", sort=False).head(N_EXAMPLES)["prompt_id"])
    rows = []
    for run in runs:
        if run["arm"] in shown and run["seed"] == 0:
            folder = out / "test" / "pictures" / run["run"]
            drawn = pd.read_parquet(folder / "images.parquet", columns=["prompt_id", "path"])
            for prompt_id, path in drawn[drawn["prompt_id"].isin(first)].itertuples(index=False):
                rows.append({"arm": run["arm"], "prompt_id": prompt_id, "image": (folder / path).read_bytes()})
    return pd.DataFrame(rows, columns=["arm", "prompt_id", "image"])


def _untrained(preset: Preset) -> list[str]:
    return [name for name, arm in preset.chosen_arms().items() if not arm.train]


def _told(row: dict[str, Any], out: Path) -> dict[str, Any]:
    """What a training says of itself."""
    folder = out / "train" / row["run"]
    if not (folder / "manifest.json").is_file():
        return row
    manifest = read_json(folder / "manifest.json")
    lines = read_metrics(folder / "metrics.jsonl")
    rates = sorted(line["images_per_s"] for line in lines if "images_per_s" in line)
    losses = [line["loss"] for line in lines if "loss" in line and line["step"] > 0.75 * manifest["n_steps"]]
    return {
        **row,
        **{key: manifest[key] for key in ("started_at", "finished_at", "machine", "n_steps", "n_pairs", "versions")},
        "weights_sha256": manifest["outputs"],
        "images_per_s": rates[len(rates) // 2] if rates else None,
        "loss": sum(losses) / len(losses) if losses else None,  # of the last quarter
    }


def _device(device: str) -> str:
    """What it ran on, for people."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"{device}, {platform.system()} {platform.machine()} with {len(os.sched_getaffinity(0))} cores"
