"""`llm4gen-bench study make`: images of several models -> a study directory, blinded, with its key apart."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.images import join_folders, models_of, read_manifests
from benchmarks.importers.importer import IMPORTERS, MANIFEST, NEED_PROMPTS
from benchmarks.records import BenchImage
from benchmarks.study.blind import Design, blind
from benchmarks.study.config import StudyConfig
from benchmarks.study.design import Planned, n_slots_for, plan
from benchmarks.study.pairs import Pair, choose_gold, choose_pairs
from benchmarks.study.power import forecast_lines
from benchmarks.study.records import FORM_VERSION
from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.prompts import load_prompts
from llm4gen_data.registry import resolve
from llm4gen_data.runs import fingerprint_hash, finish, is_complete, open_run, sha256_file, write_json

COMMAND = "llm4gen-bench study make"
SECONDS_PER_DECISION = 6.0  # a guess, to say beforehand how long a rater will be busy


def make_study(config: StudyConfig, out: Path) -> list[str]:
    """Write the study directory `out`; the lines to tell. Raises UserError for images that make no study."""
    images = read_images(config)
    design = design_study(config, images)
    identities = sorted(f"{image.model} {image.key} {image.sha256}" for image in images)
    fingerprint = {
        "study": {key: value for key, value in to_plain(config).items() if key not in ("images", "prompts")},
        "images": hashlib.sha256("\n".join(identities).encode()).hexdigest(),
        "form_version": FORM_VERSION,
    }
    with open_run(out, COMMAND, to_plain(config), fingerprint):
        if is_complete(out):
            return [f"{out}: complete"]
        study_id = fingerprint_hash(fingerprint)[:12]
        study, checks, key = blind(config, design, study_id, out / "images")
        for name, record in (("study", study), ("checks", checks), ("key", key)):
            write_json(out / f"{name}.json", asdict(record))
        fixed = {f"{name}_sha256": sha256_file(out / f"{name}.json") for name in ("study", "checks", "key")}
        content = {"study_id": study_id, "design": design.lines, **fixed}
        finish(out, COMMAND, fingerprint, content, ("pillow", "numpy", "networkx", "statsmodels"))
    return [
        *design.lines,
        f"{out}: study {study_id}; give raters nothing but what `study form` or `study serve` shows",
    ]


def read_images(config: StudyConfig) -> list[BenchImage]:
    """The images of the folders of `config`. Raises UserError as the importer of the layout does."""
    if not config.images:
        raise UsageError("no --images: name the folders of two or more models")
    if config.layout == MANIFEST:
        return read_manifests(config.images, lambda prompt: prompt.category, allow_missing=config.allow_missing)[0]
    read = resolve("image layout", config.layout, IMPORTERS)
    if config.layout in NEED_PROMPTS and config.prompts is None:
        raise UsageError(
            f"--layout {config.layout} does not say what the pictures are of: name the file with --prompts"
        )
    prompts = load_prompts(str(config.prompts)) if config.prompts else []
    for folder in config.images:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    return join_folders(config.images, lambda folder: read(folder, prompts), allow_missing=config.allow_missing)[0]


def design_study(config: StudyConfig, images: Sequence[BenchImage]) -> Design:
    """The design and its forecast. Raises UsageError for numbers that make none."""
    _check(config)
    # The pictures go into the seed: who knows seed and program only cannot work out which side is whose.
    digest = hashlib.sha256("".join(sorted(image.sha256 for image in images)).encode()).digest()
    rng = np.random.default_rng([config.seed, *np.frombuffer(digest, dtype=np.uint32).tolist()])
    pairs, remarks = choose_pairs(images, config, rng)
    axes = tuple(replace(axis, tie=False) if config.forced_choice else axis for axis in config.axes)
    gold = [choose_gold(pairs, axis, config.gold_per_axis, rng) for axis in axes]
    slots = plan(
        [pair.group for pair in pairs],
        n_axes=len(axes),
        raters_per_pair=config.raters_per_pair,
        pairs_per_rater=config.pairs_per_rater,
        n_gold_pairs=min(len(of_axis) for of_axis in gold),
        gold_per_axis=config.gold_per_axis,
        repeat_share=config.repeat_share,
        rng=rng,
    )
    return Design(axes, pairs, gold, slots, _lines(config, pairs, slots, models_of(images)) + remarks)


def _check(config: StudyConfig) -> None:
    at_least = {"n_prompts": 0, "images_per_prompt": 0, "raters_per_pair": 1, "pairs_per_rater": 1, "gold_per_axis": 0}
    for name, least in {**at_least, "size_px": 0, "seed": 0}.items():
        if getattr(config, name) < least:
            raise UsageError(f"{name} = {getattr(config, name)}: expected at least {least}")
    for name, most in {"repeat_share": 0.5, "power": 0.999, "prompt_correlation": 1.0}.items():
        if not 0 <= getattr(config, name) <= most:
            raise UsageError(f"{name} = {getattr(config, name)}: expected 0 to {most:g}")
    if config.power <= 0.05:
        raise UsageError(f"power = {config.power}: expected more than 0.05")
    names = [axis.name for axis in config.axes]
    if not names or len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
        raise UsageError(f"axes = {', '.join(names) or 'none'}: expected different names of letters, digits and _")


def _lines(
    config: StudyConfig, pairs: Sequence[Pair], slots: Sequence[Sequence[Planned]], models: Sequence[str]
) -> list[str]:
    groups: Counter[str] = Counter(f"{pair.first.model} against {pair.second.model}" for pair in pairs)
    n_prompts = len({pair.first.prompt.prompt_id for pair in pairs})
    kinds = Counter(trial.kind for trial in slots[0])
    minutes = len(slots[0]) * SECONDS_PER_DECISION / 60
    n_slots = n_slots_for(len(pairs), config.raters_per_pair, config.pairs_per_rater)
    return [
        f"{len(models)} models, {n_prompts} prompts, {len(pairs)} pairs of pictures, "
        f"{config.raters_per_pair} raters a pair: {n_slots} raters",
        f"a rater decides {len(slots[0])} times (some {minutes:.0f} min): {kinds['pair']} on {len(config.axes)} axes, "
        f"{kinds['gold']} with a known answer, {kinds['repeat']} again with sides swapped",
        *forecast_lines(list(groups.items()), config.raters_per_pair, config.power, config.prompt_correlation),
    ]
