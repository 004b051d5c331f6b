"""T2I-CompBench's folders: `samples/{prompt}_{index:06d}.png`, or a folder a category that holds such samples.

The six digits are a running index over the category: prompt i, image n has 10 i + n, and n tells its seed, 42 + n. The
original scripts sort by them; where they hold something else, prompts are silently mixed up, so they are checked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.images import some
from benchmarks.importers.importer import bench_image, model_name, pictures_in, uneven_samples
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

FIRST_SEED = 42
USUAL_SAMPLES, MAX_SAMPLES = 10, 100
NAME = re.compile(r"(?P<text>.+)_(?P<index>\d{6})", re.DOTALL)


class Sample(NamedTuple):
    """A picture and what its name says."""

    path: Path
    text: str
    digits: int


class Placed(NamedTuple):
    """A picture and what it is of."""

    sample: Sample
    prompt: Prompt
    seed: int
    sample_index: int


def read(folder: Path, prompts: Sequence[Prompt]) -> tuple[list[BenchImage], list[str]]:
    """The images of one category, or of all in folders of their names, in the order of the index.

    Digits that are no running index are told, and the pictures matched to prompts by their names instead.

    Raises UserError for names without six digits, prompts that are none of `prompts`, or digits that are no running
    index where a prompt stands twice among them, so that names alone cannot tell.
    """
    by_category: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        by_category[prompt.category].append(prompt)
    images, remarks = [], []
    for inner, category in _sample_folders(folder, by_category):
        samples = [_sample(path) for path in pictures_in(inner)]
        if not samples:
            raise UserError(f"{inner}: no pictures, expected names like 'a red apple_000000.png'")
        own = by_category[category or _category_of(inner, samples, by_category)]
        placed, told = place(samples, own, inner)
        remarks += told
        model = _model(folder.resolve(), by_category)
        found = [
            bench_image(folder, str(item.sample.path.relative_to(folder)), str(inner), model, *item[1:])
            for item in placed
        ]
        images += found
        remarks += uneven_samples(inner, found)
    return images, remarks


def place(samples: Sequence[Sample], prompts: Sequence[Prompt], folder: Path) -> tuple[list[Placed], list[str]]:
    """Which picture is of which of the category's `prompts`, in the order of the index; and what is to be told.

    Raises UserError as `read` does.
    """
    texts = {prompt.prompt for prompt in prompts}
    strangers = [sample.path.name for sample in samples if sample.text not in texts]
    if strangers:
        raise UserError(
            f"{folder}: {some(strangers)}: no such prompt among the {len(prompts)} of category "
            f"{prompts[0].category!r}; is it another version of the suite?"
        )
    remarks = []
    ordered: dict[tuple[int, str], Sample] = {}
    for sample in sorted(samples, key=lambda sample: (sample.digits, sample.path.name)):
        if ordered.setdefault((sample.digits, sample.text), sample) is not sample:
            remarks.append(f"{sample.path}: there twice (same prompt and index): first kept")
    kept = list(ordered.values())
    n = _images_per_prompt(kept, prompts)
    if n is None:
        placed, told = _by_name(kept, prompts, folder)
        return placed, [*remarks, told]
    missing = len(prompts) * n - len(kept)
    if missing:
        remarks.append(f"{folder}: {missing} of {len(prompts) * n} pictures ({len(prompts)} prompts x {n}) missing")
    return [
        Placed(sample, prompts[sample.digits // n], FIRST_SEED + sample.digits % n, sample.digits % n)
        for sample in kept
    ], remarks


def _images_per_prompt(samples: Sequence[Sample], prompts: Sequence[Prompt]) -> int | None:
    """The n for which every picture's prompt is the one at index / n; None if there is none."""
    candidates: list[int] = [USUAL_SAMPLES, *range(1, MAX_SAMPLES + 1)]
    for n in candidates:
        if all(
            sample.digits // n < len(prompts) and prompts[sample.digits // n].prompt == sample.text
            for sample in samples
        ):
            return n
    return None


def _by_name(samples: Sequence[Sample], prompts: Sequence[Prompt], folder: Path) -> tuple[list[Placed], str]:
    """By the prompts in the names; equal digits under every prompt are seeds."""
    first = samples[0]
    fault = (
        f"{folder}: the six digits are no running index ({first.path.name[-60:]}; expected 10 x prompt + sample): "
        "the original scripts would mix up prompts"
    )
    repeated = [text for text, n in Counter(prompt.prompt for prompt in prompts).items() if n > 1]
    if {sample.text for sample in samples} & set(repeated):
        raise UserError(f"{fault}; {repeated[0][:80]!r} is two prompts, so names cannot tell them apart")
    own: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        own[sample.text].append(sample)
    are_seeds = len({tuple(sample.digits for sample in group) for group in own.values()}) == 1
    placed = [
        Placed(sample, prompt, sample.digits if are_seeds else FIRST_SEED + i, i)
        for prompt in prompts
        for i, sample in enumerate(own.get(prompt.prompt, ()))
    ]
    how = "the digits taken as seeds" if are_seeds else f"seeds counted from {FIRST_SEED}"
    return placed, f"{fault}; mended: pictures matched by the prompts in their names, {how}"


def _sample_folders(folder: Path, categories: Iterable[str]) -> list[tuple[Path, str | None]]:
    """Folders of samples, with the category where their own folder is named after it."""
    if (folder / "samples").is_dir():
        return [(folder / "samples", None)]
    if folder.resolve().name == "samples":
        return [(folder, None)]
    found: list[tuple[Path, str | None]] = [
        (folder / name / "samples", name) for name in categories if (folder / name / "samples").is_dir()
    ]
    if not found:
        raise UserError(f"{folder}: no samples/, nor a folder of a category ({', '.join(categories)}) that holds one")
    return found


def _model(folder: Path, categories: Container[str]) -> str:
    """The name of the folder that is named neither samples nor after a category."""
    while folder.name == "samples" or folder.name in categories:
        folder = folder.parent
    return model_name(folder)


def _sample(path: Path) -> Sample:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise UserError(
            f"{path}: no index in the name, expected PROMPT_NNNNNN{path.suffix}; the original scripts would read "
            "the ending as part of the prompt"
        )
    return Sample(path, match["text"].strip(), int(match["index"]))


def _category_of(folder: Path, samples: Sequence[Sample], by_category: dict[str, list[Prompt]]) -> str:
    """The category that most of the pictures' prompts are of."""
    texts = {sample.text for sample in samples}
    counts = {category: sum(prompt.prompt in texts for prompt in prompts) for category, prompts in by_category.items()}
    best = max(counts, key=lambda category: counts[category])
    if not counts[best]:
        n = sum(map(len, by_category.values()))
        raise UserError(f"{folder}: {samples[0].path.name}: its prompt is none of the suite's {n}")
    return best
