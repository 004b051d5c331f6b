"""A design put into pictures and names: what raters see, and apart from it what they must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.images import models_of, some
from benchmarks.records import BenchImage
from benchmarks.study.config import StudyConfig
from benchmarks.study.design import Planned
from benchmarks.study.images import canvas_of, degraded, picture, write_pictures
from benchmarks.study.pairs import GoldPair, Pair
from benchmarks.study.records import FORM_VERSION, Axis, Checks, Key, KeyPair, Side, Study, Trial, sha256_of
from llm4gen_data.errors import UserError


@dataclass(frozen=True, slots=True)
class Design:
    """Everything that is settled before a picture is touched; `gold[axis]` are the gold pairs of an axis."""

    axes: tuple[Axis, ...]
    pairs: list[Pair]
    gold: list[list[GoldPair]]
    slots: list[list[Planned]]
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Shown:
    """Two pictures as raters get them: the names of the files of `first` and of the other, and their pair's id."""

    pair_id: str
    first: BenchImage
    names: tuple[str, str]


def blind(config: StudyConfig, design: Design, study_id: str, folder: Path) -> tuple[Study, Checks, Key]:
    """Write the pictures to `folder` and give everything names that say nothing.

    Adds a line to `design.lines` if the pictures' sizes tell models apart. Raises UserError for a picture that cannot
    be read, or if both of a pair are the same.
    """
    rng = np.random.default_rng(list(study_id.encode()))
    files, (width, height) = _write_images(config, design, folder)
    ids = [f"{number:010x}" for number in rng.choice(2**40, size=len(files), replace=False)]
    shown = {
        name: Shown(pair_id, image, names) for pair_id, (name, (image, names)) in zip(ids, files.items(), strict=True)
    }
    slots = [
        tuple(_trial(design, shown, slot, i, trial) for i, trial in enumerate(planned))
        for slot, planned in enumerate(design.slots)
    ]
    code = "".join(rng.choice(list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"), size=8))
    study = Study(study_id, config.title, FORM_VERSION, config.seed, design.axes, width, height, code, tuple(slots))
    return study, _checks(config, design, study_id), _key(design, shown, study_id)


def _trial(design: Design, shown: Mapping[str, Shown], slot: int, i: int, trial: Planned) -> Trial:
    axis = design.axes[trial.axis]
    pair = shown[f"gold {trial.axis} {trial.number}" if trial.kind == "gold" else f"pair {trial.number}"]
    left, right = pair.names if trial.first_left else pair.names[::-1]
    prompt = pair.first.prompt
    text = prompt.prompt if axis.shows_prompt else None
    return Trial(_trial_id(slot, i), pair.pair_id, axis.name, prompt.prompt_id, text, left, right)


def _checks(config: StudyConfig, design: Design, study_id: str) -> Checks:
    gold: dict[str, Side] = {}
    repeats: dict[str, str] = {}
    for slot, planned in enumerate(design.slots):
        for i, trial in enumerate(planned):
            if trial.kind == "gold":
                gold[_trial_id(slot, i)] = "left" if trial.first_left else "right"
            if trial.repeats is not None:
                repeats[_trial_id(slot, i)] = _trial_id(slot, trial.repeats)
    return Checks(study_id, config.exclude, gold, repeats)


def _key(design: Design, shown: Mapping[str, Shown], study_id: str) -> Key:
    pairs = {}
    for number, pair in enumerate(design.pairs):
        names, image = shown[f"pair {number}"].names, pair.first
        whose = {sha256_of(names[0]): pair.first.model, sha256_of(names[1]): pair.second.model}
        key_pair = KeyPair(image.prompt.prompt_id, image.prompt.category, image.seed, image.sample_index, whose)
        pairs[shown[f"pair {number}"].pair_id] = key_pair
    models = models_of(image for pair in design.pairs for image in (pair.first, pair.second))
    return Key(study_id, tuple(models), dict(sorted(pairs.items())))


def _trial_id(slot: int, i: int) -> str:
    return f"s{slot:04d}t{i:04d}"


def _write_images(
    config: StudyConfig, design: Design, folder: Path
) -> tuple[dict[str, tuple[BenchImage, tuple[str, str]]], tuple[int, int]]:
    """For each pair its first image, for each gold pair its right one, with the file names of both; the canvas."""
    shown = {_identity(image): image for pair in design.pairs for image in (pair.first, pair.second)}
    sizes = {identity: picture(image).size for identity, image in shown.items()}
    side, width, height = canvas_of(list(sizes.values()), config.size_px)
    design.lines.extend(_telling(list(shown.values()), list(sizes.values())))
    sources = {identity: partial(picture, image) for identity, image in shown.items()}
    golds = {f"gold {axis} {n}": gold for axis, found in enumerate(design.gold) for n, gold in enumerate(found)}
    sources |= {name: partial(_degraded, gold.right) for name, gold in golds.items() if gold.wrong is None}
    names = dict(zip(sources, write_pictures(list(sources.values()), folder, side, width, height), strict=True))
    files = {
        f"pair {number}": (pair.first, (names[_identity(pair.first)], names[_identity(pair.second)]))
        for number, pair in enumerate(design.pairs)
    }
    for name, gold in golds.items():
        wrong = names[name if gold.wrong is None else _identity(gold.wrong)]
        files[name] = (gold.right, (names[_identity(gold.right)], wrong))
    for image, both in files.values():
        if len(set(both)) < 2:
            raise UserError(f"{image.file}: the picture beside it is the same; leave one of them out")
    return files, (width, height)


def _telling(images: Sequence[BenchImage], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """A line on what no re-encoding hides: models whose pictures differ in shape or size."""
    by_model: dict[str, set[tuple[int, int]]] = {}
    for image, size in zip(images, sizes, strict=True):
        by_model.setdefault(image.model, set()).add(size)
    if len(set(map(frozenset, by_model.values()))) == 1:
        return []
    told = ", ".join(f"{model} {some(sorted(f'{w}x{h}' for w, h in found))}" for model, found in by_model.items())
    return [f"pictures differ in size: {told}; grey margins and softer scaling may tell them apart"]


def _degraded(image: BenchImage) -> Image.Image:
    return degraded(picture(image))


def _identity(image: BenchImage) -> str:
    return f"{image.model} {image.key} {image.sha256}"
