"""The val prompts of T2I-CompBench: fetched once, held to their sha256, with what they ask for in their spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import chain, islice, zip_longest
from pathlib import Path

from benchmarks import downloads
from benchmarks.suites.t2i_compbench.linguistics import Facts, analyse, kept_analysis
from benchmarks.suites.t2i_compbench.protocol import COMPLEX_KINDS, SPLITS, VERSIONS, PromptFile, Split, Version
from benchmarks.suites.t2i_compbench.rules import Kind
from llm4gen_data.errors import UserError
from llm4gen_data.prompts import load_prompts
from llm4gen_data.records import Prompt
from llm4gen_data.runs import atomic_path

TIMEOUT_S = 60


def prompts_2023_07(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """The prompts of six categories, of versions 2023-07 to 2024-01."""
    return version_prompts(VERSIONS["2024-01"], n=n)


def prompts_2024_03(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """The prompts of eight categories with the old colours, of versions 2024-03 and 2025-01."""
    return version_prompts(VERSIONS["2025-01"], n=n)


def prompts_2025_09(n: int | None = None, seed: int = 0) -> list[Prompt]:
    """The prompts of eight categories, of version 2025-09."""
    return version_prompts(VERSIONS["2025-09"], n=n)


def version_prompts(
    version: Version, *, categories: Sequence[str] = (), n: int | None = None, folder: Path | None = None
) -> list[Prompt]:
    """The prompts of some categories (none: all) of a version; with `n`, the first ones of each category in turn.

    Files are taken from `folder` if given, else from the cache, else from the network into the cache. Raises
    UserError for an unknown category, a file that cannot be had, or one with another sha256.
    """
    unknown = [category for category in categories if category not in version.files]
    if unknown:
        raise UserError(
            f"category {unknown[0]!r}: version {version.name} has {', '.join(version.files)}, and no other"
        )
    by_category = [_category_prompts(version, name, folder) for name in categories or version.files]
    everything = list(chain.from_iterable(by_category))
    if n is None or n >= len(everything):
        return everything
    in_turn = [prompt for prompts in zip_longest(*by_category) for prompt in prompts if prompt is not None]
    chosen = {prompt.prompt_id for prompt in islice(in_turn, n)}
    return [prompt for prompt in everything if prompt.prompt_id in chosen]


def own_prompts(file: Path, category: str) -> list[Prompt]:
    """Prompts of a user's own file, read as prompts of `category`. Raises UserError for what cannot be read."""
    prompts = load_prompts(str(file))
    facts = analyse(category, [prompt.prompt for prompt in prompts])
    return [
        dataclasses.replace(prompt, category=category, spec=fact.to_spec())
        for prompt, fact in zip(prompts, facts, strict=True)
    ]


def prompt_lines(file: PromptFile, folder: Path | None = None) -> list[str]:
    """The prompts of a file, without line ends. Raises UserError if it cannot be had or has another sha256."""
    text = _content(file, folder).decode("utf-8-sig")
    return [line.strip() for line in text.split("\n") if line.strip()]


def cache_folder() -> Path:
    """Where fetched prompts and their analyses are kept: $LLM4GEN_CACHE, or ~/.cache/llm4gen."""
    return downloads.cache_folder("t2i_compbench")


def complex_kinds(prompts: Iterable[str], spatial: Iterable[str], action: Iterable[str]) -> list[Kind]:
    """What each complex prompt asks for; lines are compared up to their first "." and without regard to case."""
    known: tuple[tuple[Kind, set[str]], ...] = (
        ("spatial", {_stem(line) for line in spatial}),
        ("action", {_stem(line) for line in action}),
    )
    return [next((kind for kind, stems in known if _stem(prompt) in stems), "spatialaction") for prompt in prompts]


def _category_prompts(version: Version, category: str, folder: Path | None) -> list[Prompt]:
    file = version.files[category]
    lines = prompt_lines(file, folder)
    kinds = None
    if category == "complex":
        kinds = complex_kinds(lines, *(prompt_lines(COMPLEX_KINDS[k], folder) for k in ("spatial", "action")))
    facts = kept_analysis(cache_folder(), category, lines, kinds, file.sha256)
    splits = {name: set(prompt_lines(part, folder)) for name, part in SPLITS.get(category, {}).items()}
    return [
        _prompt(line, dataclasses.replace(fact, split=_split(line, splits)))
        for line, fact in zip(lines, facts, strict=True)
    ]


def _prompt(text: str, facts: Facts) -> Prompt:
    prompt_id = f"{facts.category}-{facts.index:03d}"
    return Prompt(prompt_id, text, facts.category, len(text.split()), facts.to_spec())


def _split(line: str, splits: dict[Split, set[str]]) -> Split | None:
    return next((name for name, lines in splits.items() if line in lines), None)


def _stem(line: str) -> str:
    return line.partition(".")[0].strip().lower()


def _content(file: PromptFile, folder: Path | None) -> bytes:
    kept = cache_folder() / file.name
    if folder is not None:
        path = next(
            (folder / name for name in (file.name, file.remote_name) if name and (folder / name).is_file()), None
        )
        if path is None:
            raise UserError(f"{folder / file.name}: no such file")
        content = _checked(path.read_bytes(), file, str(path))
    elif kept.is_file():
        return _checked(kept.read_bytes(), file, str(kept))
    else:
        content = _checked(_download(file), file, file.url)
    if not kept.is_file():
        with atomic_path(kept) as temporary:
            temporary.write_bytes(content)
    return content


def _checked(content: bytes, file: PromptFile, where: str) -> bytes:
    found = sha256(content).hexdigest()
    if found != file.sha256:
        raise UserError(f"{where}: its sha256 is {found}, expected {file.sha256}; it is not the file of the protocol")
    return content


def _download(file: PromptFile) -> bytes:
    import httpx

    try:
        answer = httpx.get(file.url, timeout=TIMEOUT_S, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise UserError(
            f"{file.url} (sha256 {file.sha256}): cannot be fetched ({type(error).__name__}); "
            f"`llm4gen-bench prompts --from DIR` takes {file.name} from a folder"
        ) from error
    return answer.content
