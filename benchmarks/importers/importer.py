"""What an importer is, the table of importers, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.config import BenchConfig
from benchmarks.images import MAX_FILE_BYTES, join_folders, path_problem
from benchmarks.records import BenchImage
from benchmarks.suites.suite import Suite
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.prompts import load_prompts
from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve
from llm4gen_data.runs import sha256_file
from llm4gen_data.sources.images import ImageError, open_image

MANIFEST = "manifest"
IMPORTERS = {
    "t2i-compbench": "benchmarks.importers.t2i_compbench:read",
    "geneval": "benchmarks.importers.geneval:read",
    "evalscope": "benchmarks.importers.evalscope:read",
    "folder": "benchmarks.importers.folder:read",
}
# These do not say themselves what the pictures are of.
NEED_PROMPTS = ("t2i-compbench", "folder")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

# An importer: the images in a folder, given the prompts they may be of (none: the layout names them), and a line on
# whatever is worth telling. Raises UserError for a layout that cannot be what it says.
Importer = Callable[[Path, Sequence[Prompt]], tuple[list[BenchImage], list[str]]]


def import_images(config: BenchConfig, suite: Suite, folders: Sequence[Path]) -> tuple[list[BenchImage], list[str]]:
    """The images of all folders by the layout of `config`, and a line on each thing worth telling.

    Raises UserError as the importer does, and as `images.join_folders` does; UsageError where prompts are missing.
    """
    read: Importer = resolve("image layout", config.layout, IMPORTERS)
    prompts: list[Prompt] = []
    if config.prompts is not None:
        prompts = load_prompts(str(config.prompts))
    elif config.layout in NEED_PROMPTS:
        if not suite.prompts:
            raise UsageError(f"suite {config.suite}: has no prompts; expected --prompts FILE")
        prompts = load_prompts(suite.prompts, n=suite.n_prompts)
    prompts = [replace(prompt, category=suite.group(prompt)) for prompt in prompts]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    return join_folders(folders, lambda folder: read(folder, prompts), allow_missing=config.allow_missing)


def bench_image(
    folder: Path, path: str, listed_in: str, model: str, prompt: Prompt, seed: int, sample_index: int
) -> BenchImage:
    """The image at `path` in `folder`, with its sha256 or its problem. Raises UserError for a path that leaves it."""
    problem = path_problem(folder, folder.resolve(), path, listed_in)
    digest = ""
    if problem is None:
        problem = _no_picture(folder / path)
        digest = sha256_file(folder / path)
    return BenchImage(model, prompt, seed, sample_index, folder, path, digest, problem)


def pictures_in(folder: Path) -> list[Path]:
    """Picture files in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def model_name(folder: Path) -> str:
    """A folder of pictures is named after what drew them."""
    return folder.resolve().name


def uneven_samples(folder: Path, images: Sequence[BenchImage]) -> list[str]:
    """A line if prompts differ in their number of images."""
    counts: dict[str, int] = {}
    for image in images:
        counts[image.prompt.prompt_id] = counts.get(image.prompt.prompt_id, 0) + 1
    usual = max(counts.values(), default=0)
    fewer = [prompt_id for prompt_id, n in counts.items() if n < usual]
    if not fewer:
        return []
    return [f"{folder}: {len(fewer)} of {len(counts)} prompts have fewer than {usual} images, first {fewer[0]!r}"]


def _no_picture(path: Path) -> str | None:
    """Whether the head of the file is no picture's; its pixels are read when it is scored."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return f"over the limit of {MAX_FILE_BYTES} bytes"
    try:
        with open_image(path.read_bytes()):
            pass
    except ImageError as error:
        return str(error)
    return None
