"""Keep the set apart from public prompt sets: how near its prompts come to theirs, and which are too near."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm4gen_data.densprompts.neighbors import MAX_SIMILARITY, Neighbors
from llm4gen_data.errors import UserError
from llm4gen_data.prompts import FILE_TYPES, load_prompts
from llm4gen_data.runs import sha256_file

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*FILE_TYPES, *DELIMITERS)
COLUMNS = ("prompt", "caption", "text")  # of a table with several of them the first counts


@dataclass(frozen=True)
class PublicSet:
    """One file of prompts; `name` is its path below the folder that was given."""

    name: str
    sha256: str
    prompts: tuple[str, ...]

    @cached_property
    def neighbors(self) -> Neighbors:
        """The set's prompts, ready to be compared with."""
        neighbors = Neighbors()
        for prompt in self.prompts:
            neighbors.add(prompt)
        return neighbors


def read_public_sets(paths: Sequence[Path]) -> tuple[PublicSet, ...]:
    """The prompt sets in files, and in folders at any depth (other files there are left alone), by name.

    `.txt` holds a prompt a line, `.jsonl`, `.parquet`, `.csv` and `.tsv` have a column prompt (tables also: caption,
    text). Raises UserError for a missing path, a folder without such files, or a file that cannot be read.
    """
    sets = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not files:
                raise UserError(f"{path}: no file of prompts in this folder, expected {', '.join(SUFFIXES)}")
        else:
            files = [path]
        root = path if path.is_dir() else path.parent
        sets += [PublicSet(str(file.relative_to(root)), sha256_of(file), tuple(_read(file))) for file in files]
    return tuple(sets)


def sha256_of(file: Path) -> str:
    """The sha256 of a file's bytes. Raises UserError if it is missing."""
    if not file.is_file():
        raise UserError(f"{file}: no such file or folder, expected prompts in {', '.join(SUFFIXES)}")
    return sha256_file(file)


def nearest(prompt: str, sets: Iterable[PublicSet]) -> float:
    """The largest 5-word-shingle Jaccard similarity of a prompt with any prompt of any set."""
    return max((public.neighbors.nearest(prompt) for public in sets), default=0.0)


def leakage(prompts: Sequence[str], sets: Sequence[PublicSet]) -> list[dict[str, Any]]:
    """For each public set: how near the nearest of `prompts` comes, how many come too near, and how many quote it.

    `n_quoted` counts public prompts (of five words or more) of which every 5-word shingle stands in one of ours.
    """
    closest: dict[str, list[tuple[float, int, int]]] = {public.name: [] for public in sets}
    quoted: dict[str, set[int]] = {public.name: set() for public in sets}
    for ours, prompt in enumerate(prompts):  # outside: a prompt's shingles are then made once
        for public in sets:
            similarity, theirs = public.neighbors.closest(prompt)
            if theirs is not None:
                closest[public.name].append((similarity, ours, theirs))
            quoted[public.name].update(public.neighbors.contained(prompt))
    return [_row(public, prompts, closest[public.name], len(quoted[public.name])) for public in sets]


def _row(
    public: PublicSet, prompts: Sequence[str], closest: Sequence[tuple[float, int, int]], n_quoted: int
) -> dict[str, Any]:
    similarity, ours, theirs = max(closest, default=(0.0, 0, 0))
    return {
        "set": public.name,
        "sha256": public.sha256,
        "n_prompts": len(public.prompts),
        "similarity_max": round(similarity, 3),
        "n_too_near": sum(similarity >= MAX_SIMILARITY for similarity, _, _ in closest),
        "n_quoted": n_quoted,
        "nearest": {"ours": prompts[ours], "theirs": public.prompts[theirs]} if closest else None,
    }


def _read(file: Path) -> list[str]:
    if file.suffix not in DELIMITERS:
        return [prompt.prompt for prompt in load_prompts(str(file), texts_only=True)]
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, delimiter=DELIMITERS[file.suffix])
            names = {name.lower(): name for name in table.fieldnames or () if name}
            column = next((names[name] for name in COLUMNS if name in names), None)
            if column is None:
                raise UserError(f"{file}: no column {' or '.join(COLUMNS)} among {', '.join(names) or 'none'}")
            found = [(row[column] or "").strip() for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a table of UTF-8 text: {error}") from error
    if not any(found):
        raise UserError(f"{file}: column {column!r} holds no prompts")
    return [prompt for prompt in found if prompt]
