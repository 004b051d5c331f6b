"""A sample of generated pictures to be labelled: a folder that stands for itself, wherever the pictures came from.

It holds `pictures/NNN.png` as generated, `pictures.csv` (number, sha256, and which picture it was), `labels.txt` to
fill in (see `format`) and `sheets/`.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

from benchmarks.images import MAX_PIXELS, read_manifests
from benchmarks.records import BenchImage
from benchmarks.report.tables import csv_text
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError, prepare, sha256
from llm4gen_data.runs import make_folder, write_text
from llm4gen_data.scenes.facts import facts_from_json
from pipelines.labels.format import HEADER, Labels, blank_lines, read_labels

COLUMNS = ("number", "sha256", "model", "prompt_id", "seed", "sample_index")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the sample; `number` is its name in `labels.txt` and `pictures/`."""

    number: str
    sha256: str
    image: Image.Image


def image_folders(source: Path) -> tuple[Path, ...]:
    """The folders of images that a scored run was made of, or `source` itself if it is a folder of images.

    Raises UserError if it is neither.
    """
    if (source / "images.parquet").exists():
        return (source,)
    try:
        config = yaml.safe_load((source / "config.yaml").read_text(encoding="utf-8"))
        return tuple(Path(folder) for folder in config["images"]) or (source / "images",)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{source}: expected a folder of `llm4gen-model generate` or a run of `llm4gen-bench run`"
        ) from error


def draw_sample(folders: Sequence[Path], n_objects: int, seed: int) -> list[BenchImage]:
    """Pictures in a random order, so many that their prompts ask for `n_objects`; fewer are the first of more.

    What the pictures really hold, the eye tells. Equal pictures are taken once. Raises UserError for prompts that
    state no scene, and for too few pictures.
    """
    images, _ = read_manifests(folders, lambda prompt: prompt.category)
    images.sort(key=lambda image: (image.model, image.key))
    random.Random(seed).shuffle(images)
    chosen: dict[str, BenchImage] = {}
    n_asked = 0
    for image in images:
        if n_asked >= n_objects:
            return list(chosen.values())
        if image.sha256 not in chosen:
            if image.prompt.spec is None:
                raise UserError(
                    f"prompt {image.prompt.prompt_id!r}: states no scene; expected pictures of drawn scenes"
                )
            chosen[image.sha256] = image
            n_asked += len(facts_from_json(image.prompt.spec).objects)
    if n_asked < n_objects:
        raise UserError(f"{len(chosen)} pictures of {n_asked} objects are there, expected {n_objects} objects")
    return list(chosen.values())


def write_sample(chosen: Sequence[BenchImage], out: Path) -> list[str]:
    """Write the pictures, their table and a line for each in `labels.txt`; their numbers.

    A sample that is there may only be continued: its labels are kept. Raises UserError for another one.
    """
    numbers = [f"{i:03d}" for i in range(1, len(chosen) + 1)]
    rows = [
        dict(zip(COLUMNS, (number, i.sha256, i.model, *i.key), strict=True))
        for number, i in zip(numbers, chosen, strict=True)
    ]
    known = _read_table(out) if (out / "pictures.csv").exists() else []
    if known != [row["sha256"] for row in rows[: len(known)]]:
        raise UserError(f"{out}: holds another sample, or a larger one; expected a new folder")
    make_folder(out / "pictures")
    for number, image in zip(numbers, chosen, strict=True):
        data = image.file.read_bytes()
        if sha256(data) != image.sha256:
            raise UserError(f"{image.file}: changed since it was generated: its sha256 is not the manifest's")
        (out / "pictures" / f"{number}.png").write_bytes(data)
    labels = out / "labels.txt"
    before = labels.read_text(encoding="utf-8") if labels.exists() else HEADER
    labelled = read_labels(labels, numbers) if labels.exists() else {}
    write_text(labels, before.rstrip("\n") + "\n" + blank_lines(n for n in numbers if n not in labelled))
    write_text(out / "pictures.csv", csv_text(rows))
    return numbers


def read_sample(folder: Path) -> tuple[list[Picture], Labels]:
    """All pictures of a sample and its labels. Raises UserError for a picture that is not the labelled one."""
    pictures = []
    for i, expected in enumerate(_read_table(folder), start=1):
        file = folder / "pictures" / f"{i:03d}.png"
        try:
            data = file.read_bytes()
            if sha256(data) != expected:
                raise UserError(f"{file}: not the picture that was labelled: its sha256 is not that of pictures.csv")
            pictures.append(Picture(f"{i:03d}", expected, prepare(data, MAX_PIXELS).image))
        except (OSError, ImageError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from error
    return pictures, read_labels(folder / "labels.txt", [picture.number for picture in pictures])


def _read_table(folder: Path) -> list[str]:
    """The sha256 of each picture, numbered from 1. Raises UserError for a table that is no such."""
    path = folder / "pictures.csv"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}; expected a folder of `sheets`") from error
    for i, row in enumerate(rows, start=1):
        if row.get("number") != f"{i:03d}" or not row.get("sha256"):
            raise UserError(f"{path}, row {i}: expected number {i:03d} and a sha256")
    return [row["sha256"] for row in rows]
