"""`llm4gen-bench prompts`: the prompts of a version of T2I-CompBench as a file that `generate` takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from benchmarks.suites.t2i_compbench.linguistics import facts_of
from benchmarks.suites.t2i_compbench.prompts import own_prompts, version_prompts
from benchmarks.suites.t2i_compbench.protocol import parse_protocol
from llm4gen_data.errors import UsageError
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import make_folder


def write_prompts(suite: str, source: Path | None, categories: Sequence[str], file: Path | None, out: Path) -> str:
    """Write the prompts of `suite` ("t2i-compbench@2025-09", its mode does not matter), or those of `file`, to `out`.

    Returns a line that says what was written. Raises UsageError for an unknown suite, or options that do not go
    together, and UserError as `prompts.version_prompts` does.
    """
    version, _ = parse_protocol(suite if "/" in suite else f"{suite}/official")
    if out.suffix != ".parquet":
        raise UsageError(f"--out {out}: expected a name that ends in .parquet")
    if file is None:
        prompts = version_prompts(version, categories=categories, folder=source)
    elif source is not None or len(categories) != 1:
        raise UsageError("--file: expected exactly one --category to read its prompts as, and no --from")
    else:
        prompts = own_prompts(file, categories[0])
    make_folder(out.parent)
    write_shard(out, pa.Table.from_pylist([asdict(prompt) for prompt in prompts], PROMPT_SCHEMA))
    counts = ", ".join(f"{category} {n}" for category, n in Counter(prompt.category for prompt in prompts).items())
    parsers = sorted({facts_of(prompt.spec, prompt.prompt_id).parser for prompt in prompts})
    return f"{out}: {len(prompts)} prompts ({counts}), read by {', '.join(parsers)}"
