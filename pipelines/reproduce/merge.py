"""One record of several: parts of an experiment whose arms ran apart, on several machines, say."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path, read_json, write_json, write_text
from pipelines.reproduce.choose import primary_kind
from pipelines.reproduce.plan import CHOICES
from pipelines.reproduce.preset import Preset
from pipelines.reproduce.record import ATTENTION, EXAMPLES, PROBES, RUNS
from pipelines.reproduce.report import read_preset

MAY_DIFFER = ("arms", "only", "probes", "costs", "threads", "device")  # of arms, those that ran are taken


def merge_records(parts: Sequence[Path], record: Path) -> None:
    """Write to `record` what the records `parts` hold together; `record` may be one of them.

    Every arm is in one part. Which end point is the primary one follows from what all arms reached on the validation
    prompts, by the rule of the preset. Raises UserError for parts of different experiments, for an arm in two, and for
    one that was told another choice than the arm that it follows made.
    """
    presets = [read_preset(part) for part in parts]
    preset = _together(parts, presets)
    tables = [pd.read_parquet(part / "prompts.parquet") for part in parts]
    for part, table in zip(parts, tables, strict=True):
        if not table.equals(tables[0]):
            raise UserError(f"{part / 'prompts.parquet'}: other prompts than in {parts[0]}; made by other versions?")
    scores = pd.concat([pd.read_parquet(part / "scores.parquet") for part in parts], ignore_index=True)
    choices = _chosen_together(preset, [read_json(part / CHOICES) for part in parts])
    runs = _run_together([read_json(part / RUNS) for part in parts])
    probes = {name: _probed_together([read_json(file) for file in _found(parts, name)]) for name in PROBES}
    record.mkdir(parents=True, exist_ok=True)
    for picture in _found(parts, ATTENTION)[:1]:
        if picture.parent != record:
            shutil.copyfile(picture, record / ATTENTION)
    for name, probed in probes.items():
        if probed:
            write_json(record / name, probed)
    write_text(record / "preset.yaml", yaml.safe_dump(to_plain(preset), sort_keys=False, allow_unicode=True))
    write_json(record / CHOICES, choices)
    write_json(record / RUNS, runs)
    merged_tables = {"prompts.parquet": tables[0], "scores.parquet": scores}
    if found := _found(parts, EXAMPLES):
        merged_tables[EXAMPLES] = pd.concat([pd.read_parquet(file) for file in found], ignore_index=True)
    for name, merged in merged_tables.items():
        with atomic_path(record / name) as temporary:
            merged.to_parquet(temporary, index=False, compression="zstd")


def _together(parts: Sequence[Path], presets: Sequence[Preset]) -> Preset:
    """The preset with the arms of all parts, each as it ran, in the order of the first."""
    plain = [to_plain(preset) for preset in presets]
    found: dict[str, Path] = {}
    arms = dict(presets[0].arms)
    for part, own, preset in zip(parts, plain, presets, strict=True):
        for key in own:
            if key not in MAY_DIFFER and own[key] != plain[0][key]:
                raise UserError(f"{part}: another experiment than {parts[0]}: {key}: {plain[0][key]} -> {own[key]}")
        for name in preset.chosen_arms():
            if name in found:
                raise UserError(f"{part}: arm {name!r} is in {found[name]} already; expected every arm once")
            found[name] = part
            arms[name] = preset.arms[name]
    return replace(presets[0], arms=arms, only=tuple(name for name in arms if name in found))


def _chosen_together(preset: Preset, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = preset.primary.kinds
    reached = {kind: max(each["reached_on_validation"][kind] for each in choices) for kind in kinds}
    chosen = {name: choice for each in choices for name, choice in each["choices"].items()}
    for name, arm in preset.chosen_arms().items():
        followed = chosen.get(arm.choice_of or name, chosen[name])
        if chosen[name] != followed:
            raise UserError(f"arm {name!r} ran with {chosen[name]}: expected what {arm.choice_of!r} chose, {followed}")
    return {
        "primary_kind": primary_kind(preset.primary, reached),
        "reached_on_validation": reached,
        "choices": chosen,
        "sweep": [row for each in choices for row in each["sweep"]],
    }


def _run_together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Commands, commits and devices once each; trainings and jobs of all."""
    once = ("commands", "commits", "devices")
    return {
        **{key: list(dict.fromkeys(value for each in runs for value in each[key])) for key in once},
        **{key: [value for each in runs for value in each[key]] for key in ("runs", "jobs")},
    }


def _probed_together(probes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first of them, and the encoders of the others that it lacks."""
    if not probes or "rows" not in probes[0]:
        return probes[0] if probes else {}
    merged = dict(probes[0])
    for other in probes[1:]:
        new = [name for name in other["encoders"] if name not in merged["encoders"]]
        merged["encoders"] = [*merged["encoders"], *new]
        merged["rows"] = [*merged["rows"], *(row for row in other["rows"] if row["encoder"] in new)]
        merged["cut_share"] = {**other["cut_share"], **merged["cut_share"]}
    return merged


def _found(parts: Sequence[Path], name: str) -> list[Path]:
    return [part / name for part in parts if (part / name).is_file()]
