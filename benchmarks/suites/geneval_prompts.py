"""GenEval's 553 prompts with what they ask for: fetched once and held to their sha256, or from a file."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from benchmarks.downloads import cache_folder
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import atomic_path

FILE = "evaluation_metadata.jsonl"
SHA256 = "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"
URL = f"https://raw.githubusercontent.com/djghosh13/geneval/main/prompts/{FILE}"
TIMEOUT_S = 60


def geneval_prompts(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """The first `n` prompts (None: all), from the cache, else from the network into it.

    Raises UserError if the file cannot be had or has another sha256.
    """
    kept = cache_folder("geneval") / FILE
    if not kept.is_file():
        content = _download()
        with atomic_path(kept) as temporary:
            temporary.write_bytes(content)
    return read_metadata(kept)[:n]


def read_metadata(path: Path, *, pinned: bool = True) -> list[Prompt]:
    """The prompts of a metadata file; ids are the names of GenEval's folders ("00000"), categories the tags.

    Raises UserError for a file with another sha256 than GenEval's (unless not `pinned`), or other content.
    """
    try:
        content = path.read_bytes()
        if pinned:
            _check(content, str(path))
        rows = [json.loads(line) for line in content.decode("utf-8").splitlines() if line.strip()]
        return [
            Prompt(
                prompt_id=f"{number:05d}",
                prompt=row["prompt"],
                category=row["tag"],
                n_words=len(row["prompt"].split()),
                spec=json.dumps(row, sort_keys=True, ensure_ascii=False),
            )
            for number, row in enumerate(rows)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as GenEval's {FILE}: {error}") from error


def _check(content: bytes, where: str) -> None:
    found = sha256(content).hexdigest()
    if found != SHA256:
        raise UserError(f"{where}: its sha256 is {found}, expected {SHA256}; it is not GenEval's {FILE}")


def _download() -> bytes:
    import httpx

    try:
        answer = httpx.get(URL, timeout=TIMEOUT_S, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise UserError(
            f"{URL} (sha256 {SHA256}): cannot be fetched ({type(error).__name__}); `llm4gen-bench prompts --suite "
            f"geneval --file {FILE} --out prompts.parquet` takes it from a file"
        ) from error
    _check(answer.content, URL)
    return answer.content
