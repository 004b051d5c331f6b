"""evalscope's list of pictures: one JSONL file in the folder, `{"id", "prompt", "image_path"}` a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.importers.importer import bench_image, model_name, uneven_samples
from benchmarks.records import BenchImage
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


def read(folder: Path, prompts: Sequence[Prompt]) -> tuple[list[BenchImage], list[str]]:
    """The images in the order of the file; of several of one id the sample is the place among them, and the seed too.

    `prompts`, where given, add category and spec to those of the same text. Raises UserError if there is not exactly
    one JSONL file, for a line that cannot be read, or an id with two texts.
    """
    lists = sorted(folder.glob("*.jsonl"))
    if len(lists) != 1:
        raise UserError(f"{folder}: {len(lists)} .jsonl files, expected one that lists the pictures")
    known = {prompt.prompt: prompt for prompt in prompts}
    by_id: dict[str, Prompt] = {}
    images: list[BenchImage] = []
    seen: set[str] = set()
    twice = []
    samples: Counter[str] = Counter()
    for number, line in enumerate(_lines(lists[0]), start=1):
        if not line.strip():
            continue
        where = f"{lists[0]}, line {number}"
        prompt_id, text, path = _row(line, where)
        prompt = known.get(text) or Prompt(prompt_id, text, "all", len(text.split()), None)
        if by_id.setdefault(prompt_id, prompt).prompt != text:
            raise UserError(f"{where}: id {prompt_id!r} has another prompt before")
        path = _inside(folder, path)
        if path in seen:
            twice.append(path)
            continue
        seen.add(path)
        sample = samples[prompt.prompt_id]
        samples[prompt.prompt_id] += 1
        images.append(bench_image(folder, path, where, model_name(folder), prompt, sample, sample))
    if not images:
        raise UserError(f"{lists[0]}: lists no pictures")
    told = [f"{lists[0]}: {len(twice)} pictures listed twice, first {twice[0]}: first kept"] if twice else []
    return images, told + uneven_samples(folder, images)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from error


def _row(line: str, where: str) -> tuple[str, str, str]:
    try:
        row = json.loads(line)
        prompt_id, text, path = str(row["id"]), row["prompt"].strip(), row["image_path"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: expected an object with id, prompt and image_path: {error}") from error
    if not text or not isinstance(path, str) or not path or not prompt_id.isprintable():
        raise UserError(f"{where}: expected a prompt, a path and a printable id")
    return prompt_id, text, path


def _inside(folder: Path, path: str) -> str:
    """Absolute paths into the folder become relative; all others are left to the check of paths."""
    given = Path(path)
    return str(given.relative_to(folder.resolve())) if given.is_relative_to(folder.resolve()) else path
