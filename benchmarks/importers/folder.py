"""A folder of pictures named after their prompts: `ID.png`, `ID-SAMPLE.png`, `ID_SAMPLE.png` or `ID/SAMPLE.png`.

An ID that is a whole number may have zeros before it: `007.png` is of prompt 7, if there is no prompt 007.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.images import some
from benchmarks.importers.importer import SUFFIXES, bench_image, model_name, uneven_samples
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


def read(folder: Path, prompts: Sequence[Prompt]) -> tuple[list[BenchImage], list[str]]:
    """The images in the order of `prompts`; SAMPLE is a number (none: 0), and the seed too.

    Raises UserError if not one picture has a prompt, and if two are of one that is written in two ways (1 and 01).
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    order = {prompt_id: i for i, prompt_id in enumerate(by_id)}
    by_number = _ids_by_number(by_id)
    images: dict[tuple[str, int], BenchImage] = {}
    spelled: dict[tuple[str, int], str] = {}
    strangers, twice = [], []
    for picture in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        path = str(picture.relative_to(folder))
        prompt_id, sample, spelling = _named(Path(path), by_id, by_number)
        if prompt_id is None:
            strangers.append(path)
        elif (prompt_id, sample) not in images:
            image = bench_image(folder, path, str(folder), model_name(folder), by_id[prompt_id], sample, sample)
            images[prompt_id, sample] = image
            spelled[prompt_id, sample] = spelling
        elif spelled[prompt_id, sample] == spelling:
            twice.append(path)
        else:
            first = images[prompt_id, sample].path
            raise UserError(f"{folder}: {first} and {path} are both of prompt {prompt_id!r}, expected one of them")
    if not images:
        raise UserError(
            f"{folder}: no picture is named after a prompt, expected names like {next(iter(by_id))}.png or "
            f"{next(iter(by_id))}-0.png"
        )
    found = sorted(images.values(), key=lambda image: (order[image.prompt.prompt_id], image.sample_index))
    remarks = []
    if strangers:
        remarks.append(f"{folder}: {some(strangers)}: no prompt of that name, left out")
    if twice:
        remarks.append(f"{folder}: {some(twice)} there twice (same prompt and sample): first kept")
    without = [prompt_id for prompt_id in by_id if prompt_id not in {image.prompt.prompt_id for image in found}]
    if without:
        remarks.append(f"{folder}: {len(without)} of {len(by_id)} prompts have no picture: {some(without)}")
    return found, remarks + uneven_samples(folder, found)


def _named(
    path: Path, by_id: Mapping[str, Prompt], by_number: Mapping[str | None, str]
) -> tuple[str | None, int, str]:
    """Prompt id and sample of a picture, and the id as its name has it."""
    readings = [(path.parent.name, path.stem)] if path.stem.isdecimal() else []
    readings.append((path.stem, "0"))
    for mark in ("-", "_"):
        before, _, after = path.stem.rpartition(mark)
        if after.isdecimal():
            readings.append((before, after))
    for spelling, sample in readings:
        prompt_id = spelling if spelling in by_id else by_number.get(_number(spelling))
        if prompt_id is not None:
            return prompt_id, int(sample), spelling
    return None, 0, ""


def _ids_by_number(ids: Iterable[str]) -> dict[str | None, str]:
    """The ids that are whole numbers, by number; of those that are equal as numbers, none."""
    numbers = {prompt_id: _number(prompt_id) for prompt_id in ids}
    counts = Counter(numbers.values())
    return {number: prompt_id for prompt_id, number in numbers.items() if number is not None and counts[number] == 1}


def _number(spelling: str) -> str | None:
    """Digits without zeros before them; None for what is no whole number. As text: ids may be of any length."""
    return (spelling.lstrip("0") or "0") if spelling.isdecimal() else None
