"""Prompts to draw pictures for: a prompt set of ours by name, or a file of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve

PROMPT_SETS = {
    "scenes": "llm4gen_data.scenes.prompts:scene_prompts",
    "bindings": "llm4gen_data.scenes.prompts:binding_prompts",
    "densprompts": "llm4gen_data.densprompts.build:dense_prompts",
}
FILE_TYPES = (".parquet", ".jsonl", ".txt")
# No text encoder reads further, and a file of whole documents is a mistake.
MAX_PROMPT_WORDS = 1000
DEFAULT_CATEGORY = "all"


def load_prompts(source: str, *, n: int | None = None, seed: int = 0, texts_only: bool = False) -> list[Prompt]:
    """The prompts of `source`: a name in PROMPT_SETS, a function `module:attribute` like those, or a file.

    A set is drawn anew from `seed`, `n` prompts of it (None: as many as the set holds by default). Of a file the
    first `n` prompts are taken, or all it has. `.parquet` and `.jsonl` need `prompt`; `prompt_id` (else the row's
    number), `category` and `spec` are optional and other columns ignored; `.txt` holds one prompt a line.

    Raises UserError for a missing or unreadable file, no prompts, an empty or overlong one, two equal ids, or ids
    under another key such as `id` (not with `texts_only`); UsageError for what is neither a file nor a set.
    """
    if n is not None and n < 1:
        raise UserError(f"{source}: {n} prompts asked for, expected at least 1")
    path = Path(source)
    if path.suffix in FILE_TYPES:
        readers = {".parquet": _parquet_rows, ".jsonl": _jsonl_rows, ".txt": _text_rows}
        if not path.is_file():
            raise UserError(f"{source}: no such file")
        prompts = []
        for place, row in islice(readers[path.suffix](path), n):
            if not texts_only:
                _refuse_other_id_keys(row, source, place)
            prompts.append(_prompt(row, source, place))
    elif os.path.exists(source):  # noqa: PTH110 - False, not an error, for a prompt that is too long for a file name
        raise UserError(f"{source}: not a file of prompts, expected {', '.join(FILE_TYPES)}")
    elif source not in PROMPT_SETS and (":" not in source or " " in source):
        close = get_close_matches(source, PROMPT_SETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"prompts {source[:200]!r}: no such file or prompt set: expected a file (.txt with one prompt a line, "
            f".jsonl, .parquet) or one of {', '.join(PROMPT_SETS)}{hint}"
        )
    else:
        prompt_set = resolve("prompt set", source, PROMPT_SETS)
        prompts = prompt_set(seed=seed) if n is None else prompt_set(n=n, seed=seed)
    if not prompts:
        raise UserError(f"{source}: holds no prompts")
    _refuse_equal_ids(prompts, source)
    return prompts


def _refuse_other_id_keys(row: Mapping[str, Any], source: str, place: str) -> None:
    """An id under another key would be lost, and row numbers stand in its place."""
    for key in row:
        if row.get("prompt_id") is None and _is_id_key(key) and key != "prompt_id":
            raise UserError(f"{source}, {place}: key {key!r} is not known; ids are read from 'prompt_id'")


def _is_id_key(key: str) -> bool:
    return key.lower().replace("-", "").replace("_", "") in ("id", "promptid")


def _prompt(row: dict[str, Any], source: str, place: str) -> Prompt:
    text, number = row.get("prompt"), place.split()[-1]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{source}, {place}: prompt is {type(text).__name__}, expected text")
    n_words = len((text or "").split())
    if text is None or n_words == 0:
        raise UserError(f"{source}, {place}: empty prompt")
    if n_words > MAX_PROMPT_WORDS:
        raise UserError(f"{source}, {place}: prompt of {n_words:,} words, expected at most {MAX_PROMPT_WORDS:,}")
    prompt_id, category, spec = (row.get(name) for name in ("prompt_id", "category", "spec"))
    if spec is not None and not isinstance(spec, str):
        spec = json.dumps(spec, sort_keys=True, ensure_ascii=False)
    return Prompt(
        prompt_id=number if prompt_id is None else str(prompt_id),
        prompt=text.strip(),
        category=DEFAULT_CATEGORY if category is None else str(category),
        n_words=n_words,
        spec=spec,
    )


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    file = open_parquet(path)
    names = file.schema_arrow.names
    if "prompt" not in names:
        raise UserError(f"{path}: no column 'prompt' among {', '.join(names)}")
    columns = [name for name in names if name in ("prompt", "category", "spec") or _is_id_key(name)]
    number = 0
    for batch in file.iter_batches(columns=columns):
        for row in batch.to_pylist():
            yield f"row {number}", row
            number += 1


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: {type(row).__name__}, expected an object with 'prompt'")
        yield f"line {number}", row


def _text_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f"line {number}", {"prompt": line}) for number, line in _lines(path))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered from 1, without what follows the last line that holds anything."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from error
    # Only newlines end a line: str.splitlines would also cut at form feeds and the like.
    return enumerate(text.rstrip().split("\n") if text.strip() else [], start=1)


def _refuse_equal_ids(prompts: Iterable[Prompt], source: str) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.prompt_id in seen:
            raise UserError(f"{source}: two prompts have the prompt_id {prompt.prompt_id!r}, expected each once")
        seen.add(prompt.prompt_id)
