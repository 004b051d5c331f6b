"""GenEval's folders: `00000/metadata.jsonl` and `00000/samples/0000.png`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.importers.importer import bench_image, model_name, pictures_in, uneven_samples
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


def read(folder: Path, prompts: Sequence[Prompt]) -> tuple[list[BenchImage], list[str]]:
    """The images, each prompt's category its `tag` and its spec the metadata; the seed is not known: the sample.

    Raises UserError for a folder without such samples, or metadata that cannot be read.
    """
    images: list[BenchImage] = []
    remarks = []
    for inner in sorted(path.parent for path in folder.glob("*/metadata.jsonl")):
        prompt = _prompt(inner)
        pictures = pictures_in(inner / "samples") if (inner / "samples").is_dir() else []
        if not pictures:
            remarks.append(f"{inner}: no pictures of {prompt.prompt[:80]!r}")
        for picture in pictures:
            if not picture.stem.isdecimal():
                raise UserError(f"{picture}: expected a name like 0000.png, the number of the sample")
            number = int(picture.stem)
            path = str(picture.relative_to(folder))
            images.append(bench_image(folder, path, str(folder), model_name(folder), prompt, number, number))
    if not images:
        raise UserError(f"{folder}: no GenEval samples, expected 00000/metadata.jsonl and 00000/samples/0000.png")
    return images, remarks + uneven_samples(folder, images)


def _prompt(folder: Path) -> Prompt:
    path = folder / "metadata.jsonl"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        text, tag = metadata["prompt"].strip(), metadata.get("tag", "all")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no metadata of GenEval, expected one JSON object with 'prompt': {error}") from error
    spec = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    return Prompt(folder.name, text, str(tag), len(text.split()), spec)
