"""Scores of a record -> means, differences and ratios with intervals over seeds and prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.crossed import (
    Arm,
    CrossedEstimate,
    Statistic,
    crossed,
    crossed_share,
    difference,
    less_best,
    share_of_gain,
)
from benchmarks.stats import holm
from pipelines.reproduce.preset import Preset

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The data of an experiment: columns arm, seed, prompt_id, kind, value; a row a prompt; what was chosen."""

    preset: Preset
    scores: pd.DataFrame
    prompts: pd.DataFrame
    primary_kind: str
    reached_on_validation: dict[str, float]


def numbers(recorded: Recorded) -> dict[str, Any]:
    """All that the tables say: primary end point by arm, comparisons, claim, prompts by category, facts by kind."""
    preset, kind = recorded.preset, recorded.primary_kind
    primary = primary_prompts(recorded)
    arms = matrices(recorded, kind, primary)
    settings = {"n_resamples": preset.n_resamples, "seed": 0}
    comparisons = _compared(arms, preset.comparisons, settings)
    return {
        "primary": {
            "kind": kind,
            "n_prompts": len(primary),
            "reached_on_validation": recorded.reached_on_validation,
        },
        "arms": [{"arm": name, **_share(arms, name, settings)} for name in arms],
        "comparisons": comparisons,
        "claim": _claim(preset, arms, settings),
        "by_category": _by_category(recorded, settings),
        "by_kind": [
            {"kind": kind, "arm": name, **_share(own, name, settings)}
            for kind, own in _kinds(recorded)
            for name in own
        ],
        "comparisons_by_kind": [
            {"kind": kind, **row}
            for kind, own in _kinds(recorded)
            for row in _compared(own, preset.comparisons, settings)
        ],
        "efficiency": _efficiency(preset, arms, settings),
    }


def primary_prompts(recorded: Recorded) -> list[str]:
    """The prompts of the primary end point."""
    primary, prompts = recorded.preset.primary, recorded.prompts
    fitting = prompts["n_objects"].between(primary.min_objects, primary.max_objects)
    return [str(prompt_id) for prompt_id in prompts.loc[fitting, "prompt_id"]]


def matrices(recorded: Recorded, kind: str, prompt_ids: Iterable[str]) -> dict[str, Arm]:
    """Values [seeds, prompts] of every arm, prompts in one order, NaN where there is no value."""
    chosen = recorded.scores[recorded.scores["kind"] == kind]
    prompts = list(prompt_ids)
    arms = {}
    for name in recorded.preset.chosen_arms():
        own = chosen[chosen["arm"] == name]
        if own.empty:
            continue
        wide = own.pivot(index="seed", columns="prompt_id", values="value").reindex(columns=prompts).sort_index()
        arms[name] = Arm(wide.to_numpy(np.float64), tuple(int(seed) for seed in wide.index))
    return arms


def _estimate(arms: Mapping[str, Arm], names: Iterable[str], statistic: Statistic, settings: Mapping[str, int]) -> Row:
    return _row(crossed(arms, list(names), statistic, **settings))


def _share(arms: Mapping[str, Arm], name: str, settings: Mapping[str, int]) -> Row:
    return _row(crossed_share(arms, name, **settings))


def _row(crossed_estimate: CrossedEstimate) -> Row:
    estimate = asdict(crossed_estimate)
    mean = estimate.pop("value")
    return {"mean": mean if np.isfinite(mean) else None, **estimate}


def _compared(arms: Mapping[str, Arm], pairs: Iterable[tuple[str, str]], settings: Mapping[str, int]) -> list[Row]:
    rows = [
        {"arm": arm, "baseline": baseline, **_estimate(arms, [arm, baseline], difference(arm, baseline), settings)}
        for arm, baseline in pairs
        if arm in arms and baseline in arms
    ]
    adjusted = holm([row["p_value"] for row in rows])
    return [{**row, "p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def _claim(preset: Preset, arms: Mapping[str, Arm], settings: Mapping[str, int]) -> list[Row]:
    """Of each arm of the claim: less the best rival, and its share of what the oracle gains over the control.

    It is better than the best only if it is better than each, so that the p value is the largest of them.
    """
    claim, rows = preset.claim, []
    for name in claim.arms:
        rivals = [rival for rival in claim.rivals if rival in arms]
        if name not in arms or not rivals:
            continue
        best = max(rivals, key=lambda rival: float(np.nanmean(arms[rival].values)))
        against = _estimate(arms, [name, *rivals], less_best(name, rivals), settings)
        each = [_estimate(arms, [name, rival], difference(name, rival), settings) for rival in rivals]
        known = [row["p_value"] for row in each if row["p_value"] is not None]
        ahead = all((row["mean"] or 0) > 0 for row in each)
        against["p_value"] = (max(known) if ahead else 1.0) if len(known) == len(rivals) else None
        row = {"arm": name, "rivals": rivals, "best_rival": best, "less_best": against}
        if claim.oracle in arms and claim.control in arms:
            control, oracle = claim.control, str(claim.oracle)
            share = share_of_gain(name, control, oracle)
            row["share_of_gain"] = {
                "control": control,
                "oracle": oracle,
                "oracle_gain": _estimate(arms, [oracle, control], difference(oracle, control), settings),
                **_estimate(arms, [name, control, oracle], share, settings),
            }
        rows.append(row)
    return rows


def _by_category(recorded: Recorded, settings: Mapping[str, int]) -> list[Row]:
    """Of every category of prompts: all bindings right, and the share of objects that are."""
    rows = []
    for category, own in recorded.prompts.groupby("category", sort=False):
        for kind in recorded.preset.primary.kinds:
            arms = matrices(recorded, kind, own["prompt_id"])
            rows += [
                {"category": category, "kind": kind, "arm": name, **_share(arms, name, settings)} for name in arms
            ]
    return rows


def _kinds(recorded: Recorded) -> Iterator[tuple[str, dict[str, Arm]]]:
    """Every kind of fact over the prompts that ask for it; also the count where objects are alike."""
    prompts = recorded.prompts
    alike = list(prompts.loc[prompts["has_equal_objects"], "prompt_id"])
    found = list(dict.fromkeys(recorded.scores["kind"]))
    wanted = [(kind, kind, list(prompts["prompt_id"])) for kind in found]
    if "count" in found and alike:
        wanted.append(("count, equal objects", "count", alike))
    for label, kind, prompt_ids in wanted:
        yield label, matrices(recorded, kind, prompt_ids)


def _efficiency(preset: Preset, arms: Mapping[str, Arm], settings: Mapping[str, int]) -> list[Row]:
    """The arm of the data curve on parts of the data and on all, beside the control on all."""
    name = preset.efficiency_arm
    if name is None or name not in arms:
        return []
    specs = preset.chosen_arms()
    curve = [(spec.n_pairs or preset.pairs.n, arm) for arm, spec in specs.items() if arm.startswith(name)]
    control = preset.claim.control
    return [
        {
            "arm": arm,
            "n_pairs": n_pairs,
            **_share(arms, arm, settings),
            "less_control": _estimate(arms, [arm, control], difference(arm, control), settings),
        }
        for n_pairs, arm in sorted(curve)
        if arm in arms and control in arms
    ]
