"""A folder of pictures named after their prompts: `ID.png`, `ID-SAMPLE.png`, `ID_SAMPLE.png` or `ID/SAMPLE.png`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.images import some
from benchmarks.importers.importer import SUFFIXES, bench_image, model_name, uneven_samples
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


def read(folder: Path, prompts: Sequence[Prompt]) -> tuple[list[BenchImage], list[str]]:
    """The images in the order of `prompts`; SAMPLE is a number (none: 0), and the seed too.

    Raises UserError if not one picture has a prompt.
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    order = {prompt_id: i for i, prompt_id in enumerate(by_id)}
    images: dict[tuple[str, int], BenchImage] = {}
    strangers, twice = [], []
    for picture in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
        path = str(picture.relative_to(folder))
        prompt_id, sample = _named(Path(path), by_id)
        if prompt_id is None:
            strangers.append(path)
        elif (prompt_id, sample) in images:
            twice.append(path)
        else:
            image = bench_image(folder, path, str(folder), model_name(folder), by_id[prompt_id], sample, sample)
            images[prompt_id, sample] = image
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


def _named(path: Path, by_id: dict[str, Prompt]) -> tuple[str | None, int]:
    """Prompt id and sample of a picture."""
    if path.stem in by_id:
        return path.stem, 0
    for mark in ("-", "_"):
        prompt_id, _, sample = path.stem.rpartition(mark)
        if prompt_id in by_id and sample.isdecimal():
            return prompt_id, int(sample)
    if path.parent.name in by_id and path.stem.isdecimal():
        return path.parent.name, int(path.stem)
    return None, 0
