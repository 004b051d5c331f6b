"""`llm4gen-bench prompts`: a suite's prompts, with what they ask for, as a file that `generate` takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from benchmarks.suites import dpg_prompts, geneval_prompts
from benchmarks.suites.t2i_compbench import command
from llm4gen_data.errors import UsageError
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import make_folder

DPG, GENEVAL = "dpg", "geneval"


def write_prompts(suite: str, source: Path | None, categories: Sequence[str], file: Path | None, out: Path) -> str:
    """Write the prompts of `suite` to `out`; of DPG-Bench and GenEval from `file`, the benchmark's own, if given.

    Returns a line that says what was written. Raises UsageError for an unknown suite, or options that do not go
    together, and UserError for a file that is not the benchmark's.
    """
    name = suite.partition("/")[0]
    if name not in (DPG, GENEVAL):
        return command.write_prompts(suite, source, categories, file, out)
    if out.suffix != ".parquet":
        raise UsageError(f"--out {out}: expected a name that ends in .parquet")
    if source is not None:
        raise UsageError(f"--from: not for {name}; expected --file with the benchmark's own file")
    if name == DPG:
        found = dpg_prompts.dpg_prompts() if file is None else dpg_prompts.read_table(file)
    else:
        found = geneval_prompts.geneval_prompts() if file is None else geneval_prompts.read_metadata(file)
    unknown = set(categories) - {prompt.category for prompt in found}
    if unknown:
        known = ", ".join(dict.fromkeys(prompt.category for prompt in found))
        raise UsageError(f"--category {min(unknown)}: {name} has {known}")
    prompts = [prompt for prompt in found if not categories or prompt.category in categories]
    make_folder(out.parent)
    write_shard(out, pa.Table.from_pylist([asdict(prompt) for prompt in prompts], PROMPT_SCHEMA))
    counts = ", ".join(f"{category} {n}" for category, n in Counter(prompt.category for prompt in prompts).items())
    return f"{out}: {len(prompts)} prompts ({counts})"
