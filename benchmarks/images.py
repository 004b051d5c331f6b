"""Image manifests in: what `llm4gen-model generate` wrote, checked before anything is scored."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import GENERATED_IMAGE_SCHEMA, open_parquet
from llm4gen_data.prompts import load_prompts
from llm4gen_data.recaption.prepare import ImageError, prepare, sha256
from llm4gen_data.records import Prompt

# Larger pictures are shrunk to this many pixels before any metric sees them; it bounds a batch's memory.
MAX_PIXELS = 2048 * 2048
MAX_FILE_BYTES = 256 * 2**20
N_NAMED = 3  # of many images with the same fault, so many are named


def read_manifests(
    folders: Sequence[Path], group: Callable[[Prompt], str], *, allow_missing: bool = False
) -> tuple[list[BenchImage], list[str]]:
    """The images of all folders in manifest order, and a line on each thing worth telling about them.

    The category of each prompt is what `group` says. Of the same image twice in a folder the first is kept.

    Raises UserError for a folder without manifest, a path that leaves its folder, a missing image (unless
    `allow_missing`), one prompt id with two texts, or one model's images of the same prompt and seed in two folders.
    """
    return join_folders(folders, lambda folder: _read_manifest(folder, group), allow_missing=allow_missing)


def join_folders(
    folders: Sequence[Path],
    read: Callable[[Path], tuple[list[BenchImage], list[str]]],
    *,
    allow_missing: bool = False,
) -> tuple[list[BenchImage], list[str]]:
    """As `read_manifests`, with the images and the lines of each folder by `read`."""
    images: list[BenchImage] = []
    remarks: list[str] = []
    origin: dict[tuple[str, tuple[str, int, int]], Path] = {}
    prompts: dict[str, Prompt] = {}
    for folder in folders:
        found, told = read(folder)
        remarks += told
        for image in found:
            known = prompts.setdefault(image.prompt.prompt_id, image.prompt)
            if known != image.prompt:
                raise UserError(
                    f"{folder}: prompt {known.prompt_id!r} is not the prompt of that id in the other folders; "
                    "images of different prompt sets cannot be scored in one run"
                )
            other = origin.setdefault((image.model, image.key), folder)
            if other != folder:
                raise UserError(
                    f"{folder}: model {image.model!r} has images of the same prompts and seeds in {other}; "
                    "models need different names to be compared"
                )
        images += found
    missing = [image for image in images if image.problem]
    if missing and not allow_missing:
        first = missing[0]
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{first.file}: {first.problem}{others}, of {len(images)} images in the manifest; "
            "--allow-missing scores the others"
        )
    if missing:
        files = some([str(image.file) for image in missing])
        remarks.append(f"{files} missing or no picture file: not scored")
    return images, remarks + _uneven(images)


def refuse_faults(images: Sequence[BenchImage], remarks: Sequence[str]) -> None:
    """Raise UserError for the first of `remarks`, or if a picture cannot be read; decodes all of them."""
    if remarks:
        more = f" (and {len(remarks) - 1} more)" if len(remarks) > 1 else ""
        raise UserError(f"--strict: {remarks[0]}{more}")
    with ThreadPoolExecutor() as readers:
        problems = [problem for problem in readers.map(_unreadable, images) if problem]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"--strict: {problems[0]}{more}")


def _unreadable(image: BenchImage) -> str | None:
    try:
        load_image(image)
    except ImageError as error:
        return f"{image.file}: {error}"
    return None


def load_image(image: BenchImage) -> Image.Image:
    """The picture, upright RGB of at most MAX_PIXELS. Raises ImageError if it is not a sound picture or not the one
    that the manifest lists."""
    if image.problem:
        raise ImageError(image.problem)
    try:
        if image.file.stat().st_size > MAX_FILE_BYTES:
            raise ImageError(f"over the limit of {MAX_FILE_BYTES} bytes")
        data = image.file.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    if sha256(data) != image.sha256:
        raise ImageError("changed since it was generated: its sha256 is not the manifest's")
    return prepare(data, MAX_PIXELS).image


def first_pictures(images: Iterable[BenchImage]) -> list[Image.Image]:
    """The first sound picture of each model, to know what kind of pictures these are."""
    found: dict[str, Image.Image] = {}
    for image in images:
        if image.model not in found:
            try:
                found[image.model] = load_image(image)
            except ImageError:
                continue
    return list(found.values())


def models_of(images: Iterable[BenchImage]) -> list[str]:
    """Model names in the order of their first image."""
    return list(dict.fromkeys(image.model for image in images))


def _read_manifest(folder: Path, group: Callable[[Prompt], str]) -> tuple[list[BenchImage], list[str]]:
    rows = _rows(folder / "images.parquet")
    if not rows:
        raise UserError(f"{folder / 'images.parquet'}: lists no images")
    prompts = {
        prompt.prompt_id: replace(prompt, category=group(prompt))
        for prompt in load_prompts(str(folder / "prompts.parquet"))
    }
    inside = folder.resolve()
    images: dict[tuple[str, tuple[str, int, int]], BenchImage] = {}
    duplicates: list[str] = []
    for number, row in enumerate(rows):
        for name in ("model", "prompt_id", "path"):
            if not row[name].isprintable() or not row[name]:
                raise UserError(f"{folder / 'images.parquet'}, row {number}: {name} {row[name][:200]!r} is no name")
        prompt = prompts.get(row["prompt_id"])
        if prompt is None or prompt.prompt != row["prompt"].strip():
            wrong = "is not in" if prompt is None else "has another text in"
            raise UserError(
                f"{folder / 'images.parquet'}, row {number}: prompt {row['prompt_id']!r} {wrong} prompts.parquet"
            )
        image = BenchImage(
            model=row["model"],
            prompt=prompt,
            seed=row["seed"],
            sample_index=row["sample_index"],
            folder=folder,
            path=row["path"],
            sha256=row["sha256"],
            problem=path_problem(folder, inside, row["path"], f"{folder / 'images.parquet'}, row {number}"),
        )
        if (image.model, image.key) in images:
            duplicates.append(image.path)
        else:
            images[image.model, image.key] = image
    told = f"{folder}: {some(duplicates)} there twice (same model, prompt, seed, sample): first kept"
    return list(images.values()), [told] if duplicates else []


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.parent.is_dir() or not path.exists():
        raise UserError(
            f"{path}: no such file; expected a finished folder of `llm4gen-model generate`, or --layout for another's"
        )
    file = open_parquet(path)
    absent = [name for name in GENERATED_IMAGE_SCHEMA.names if name not in file.schema_arrow.names]
    if absent:
        raise UserError(f"{path}: no column {', '.join(absent)}; expected an image manifest")
    try:
        table = file.read(columns=GENERATED_IMAGE_SCHEMA.names).select(GENERATED_IMAGE_SCHEMA.names)
        rows: list[dict[str, Any]] = table.cast(GENERATED_IMAGE_SCHEMA).to_pylist()
    except (pa.ArrowException, ValueError, OSError) as error:
        raise UserError(f"{path}: not an image manifest: {error}") from error
    return rows


def path_problem(folder: Path, inside: Path, path: str, listed_in: str) -> str | None:
    """Why the file cannot be scored; `inside` is `folder` without links.

    Raises UserError for a path that leaves the folder, by a link as well.
    """
    where = f"{listed_in}: path {path[:200]!r}"
    try:
        file = (folder / path).resolve()
        if Path(path).is_absolute() or not file.is_relative_to(inside) or file == inside:
            raise UserError(f"{where} leaves the folder")
        status = file.stat()
    except FileNotFoundError:
        return "no such image"
    except (OSError, ValueError, RuntimeError) as error:  # names too long, zero bytes, links in a circle
        raise UserError(f"{where} is no path of a file: {error}") from error
    return None if stat.S_ISREG(status.st_mode) else "not a file"


def _uneven(images: Sequence[BenchImage]) -> list[str]:
    """A line if the models do not have the same number of images."""
    counts = Counter(image.model for image in images)
    if len(set(counts.values())) <= 1:
        return []
    return ["models differ in their number of images: " + ", ".join(f"{name} {n}" for name, n in counts.items())]


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
