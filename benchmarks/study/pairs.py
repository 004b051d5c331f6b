"""Which pictures are put side by side: chosen from the images of several models, and the gold pairs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.images import models_of
from benchmarks.records import BenchImage
from benchmarks.study.config import StudyConfig
from benchmarks.study.records import Axis
from llm4gen_data.errors import UserError

MIN_GOLD_PAIRS = 8  # an axis has at least so many different ones, as far as there are prompts


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models' images of the same prompt and seed; `group` counts the pairs of models."""

    first: BenchImage
    second: BenchImage
    group: int


@dataclass(frozen=True, slots=True)
class GoldPair:
    """A right picture and a wrong one: another prompt's, or where `wrong` is None the right one degraded."""

    right: BenchImage
    wrong: BenchImage | None


def choose_pairs(
    images: Sequence[BenchImage], config: StudyConfig, rng: np.random.Generator
) -> tuple[list[Pair], list[str]]:
    """The pairs to compare, and a line on each thing worth telling about them.

    Raises UserError if there are fewer than two models, or two that have no prompt and seed in common.
    """
    models = models_of(images)
    if len(models) < 2:
        raise UserError(f"a study compares at least two models, found only {', '.join(models) or 'none'}")
    shown: dict[str, dict[str, list[BenchImage]]] = {}
    for image in images:
        if not image.problem:
            shown.setdefault(image.prompt.prompt_id, {}).setdefault(image.model, []).append(image)
    chosen = _choose_prompts(shown, config.n_prompts, rng)
    couples = list(itertools.combinations(models, 2))
    if config.opponents == "first":
        couples = [couple for couple in couples if couple[0] == models[0]]
    pairs: list[Pair] = []
    remarks: list[str] = []
    for group, (first, second) in enumerate(couples):
        found = [
            Pair(a, b, group)
            for prompt_id in chosen
            for a, b in _common(shown[prompt_id], first, second, config.images_per_prompt)
        ]
        same = [pair for pair in found if pair.first.sha256 == pair.second.sha256]
        if same:
            remarks.append(f"{first} and {second}: {len(same)} pairs left out, both pictures are the same file")
        kept = [pair for pair in found if pair.first.sha256 != pair.second.sha256]
        if not kept:
            raise UserError(
                f"models {first!r} and {second!r} have no two pictures of the same prompt and seed to compare"
            )
        without = len(chosen) - len({pair.first.prompt.prompt_id for pair in found})
        if without:
            remarks.append(f"{first} and {second}: {without} of {len(chosen)} prompts lack a picture of the same seed")
        pairs += kept
    return pairs, remarks


def choose_gold(pairs: Sequence[Pair], axis: Axis, per_rater: int, rng: np.random.Generator) -> list[GoldPair]:
    """Pairs with a known answer for an axis, drawn from the pictures of all models alike."""
    if not per_rater:
        return []
    order = [pairs[i] for i in rng.permutation(len(pairs))[: max(per_rater, MIN_GOLD_PAIRS)]]
    gold = []
    for pair in order:
        right = pair.first if rng.integers(2) else pair.second
        same_model = [image for p in pairs for image in (p.first, p.second) if image.model == right.model]
        gold.append(GoldPair(right, _least_alike(right, same_model) if axis.shows_prompt else None))
    return gold


def _choose_prompts(prompt_ids: dict[str, dict[str, list[BenchImage]]], n: int, rng: np.random.Generator) -> list[str]:
    """All, or `n` of them: in turn one of each category, by lot within it; in the order they were given."""
    if not n or n >= len(prompt_ids):
        return list(prompt_ids)
    categories: dict[str, list[str]] = {}
    for i in rng.permutation(len(prompt_ids)):
        prompt_id, models = list(prompt_ids.items())[i]
        category = next(iter(models.values()))[0].prompt.category
        categories.setdefault(category, []).append(prompt_id)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*categories.values()))
    taken = set(itertools.islice((prompt_id for prompt_id in turns if prompt_id is not None), n))
    return [prompt_id for prompt_id in prompt_ids if prompt_id in taken]


def _common(
    by_model: dict[str, list[BenchImage]], first: str, second: str, n: int
) -> Iterable[tuple[BenchImage, BenchImage]]:
    of_second = {image.key: image for image in by_model.get(second, ())}
    both = ((image, of_second[image.key]) for image in by_model.get(first, ()) if image.key in of_second)
    return itertools.islice(both, n or None)


def _least_alike(right: BenchImage, images: Sequence[BenchImage]) -> BenchImage | None:
    """The image whose prompt shares the fewest words with that of `right`; None if there is no other prompt."""
    words = _words(right)
    others = [image for image in images if image.prompt.prompt_id != right.prompt.prompt_id]
    return min(others, key=lambda image: len(words & _words(image)) / len(words | _words(image)), default=None)


def _words(image: BenchImage) -> set[str]:
    return set(re.findall(r"\w+", image.prompt.prompt.lower())) or {""}
