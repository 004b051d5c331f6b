"""What the sweep says: learning rate and guidance of every arm, and which end point is the primary one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click
import pandas as pd

from benchmarks.comparison.finished import read_run
from llm4gen_data.runs import write_json
from pipelines.reproduce.plan import CHOICES, read_choices, run_name, sweep_scores
from pipelines.reproduce.preset import Choice, Preset, Primary
from pipelines.reproduce.record import objects_asked


def chosen(preset: Preset, out: Path) -> dict[str, Choice]:
    """The choices of a finished sweep; made once, written down, and kept."""
    known = read_choices(out)
    if known is not None:
        return known
    arms = preset.chosen_arms()
    swept = {name: arm for name, arm in arms.items() if arm.is_swept}
    scores = _validation_scores(preset, out) if swept else pd.DataFrame()
    table, choices = [], {name: arm.choice for name, arm in arms.items() if arm.choice is not None}
    for name, arm in swept.items():
        tried = [
            (_mean(scores, name, rate, scale), Choice(rate, scale))
            for rate in (preset.sweep.learning_rates if arm.train else (None,))
            for scale in preset.sweep.guidance_scales
        ]
        choices[name] = max(tried, key=lambda pair: pair[0])[1]  # of equals the first
        table += [{"arm": name, **asdict(choice), "score": score} for score, choice in tried]
    choices |= {
        name: choices[arm.choice_of] for name, arm in arms.items() if arm.choice is None and arm.choice_of is not None
    }
    reached = _reached(preset, out, {choices[name].guidance_scale for name in swept})
    kind = primary_kind(preset.primary, reached)
    write_json(
        out / CHOICES,
        {
            "primary_kind": kind,
            "reached_on_validation": reached,
            "choices": {name: asdict(choice) for name, choice in choices.items()},
            "sweep": table,
        },
    )
    click.echo(f"chosen on the validation prompts: {out / CHOICES}; primary end point: {kind}")
    return choices


def primary_kind(primary: Primary, reached: Mapping[str, float]) -> str:
    """The first kind that the best arm brings far enough off the floor; the last one if none does."""
    return next((kind for kind in primary.kinds if reached[kind] >= primary.least), primary.kinds[-1])


def _validation_scores(preset: Preset, out: Path) -> pd.DataFrame:
    """The deciding score of all that was tried: columns model, guidance_scale, value."""
    parts = []
    for scale in preset.sweep.guidance_scales:
        scores = read_run(sweep_scores(out, scale)).scores
        of_kind = scores[(scores["kind"] == preset.sweep.kind) & scores["value"].notna()]
        parts.append(of_kind[["model", "value"]].assign(guidance_scale=scale))
    return pd.concat(parts, ignore_index=True)


def _mean(scores: pd.DataFrame, arm: str, rate: float | None, scale: float) -> float:
    model = run_name(arm, rate, 0) if rate is not None else None
    base = scores["model"].map(lambda name: "-seed" not in name)
    own = scores[(base if model is None else scores["model"] == model) & (scores["guidance_scale"] == scale)]
    return float(own["value"].mean())


def _reached(preset: Preset, out: Path, guidance_scales: set[float]) -> dict[str, float]:
    """What the best arm brings each kind to, on the validation prompts of the primary end point; 0 without a sweep."""
    primary = preset.primary
    reached: dict[str, float] = {}
    for kind in primary.kinds:
        means = [0.0]
        for scale in sorted(guidance_scales):
            run = read_run(sweep_scores(out, scale))
            fitting = {
                prompt_id
                for prompt_id, prompt in run.prompts.items()
                if primary.min_objects <= objects_asked(prompt["spec"]) <= primary.max_objects
            }
            scores = run.scores[(run.scores["kind"] == kind) & run.scores["prompt_id"].isin(fitting)]
            means += [float(value) for value in scores.groupby("model")["value"].mean().dropna()]
        reached[kind] = max(means)
    return reached
