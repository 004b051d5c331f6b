"""The data set card of a built prompt set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm4gen_data.densprompts.build import DensePrompt
from llm4gen_data.densprompts.taxonomy import QUOTAS

N_SAMPLES = 12
BAR_WIDTH = 40
NEWLINE = "\n"  # Python 3.11 has no backslash inside an f-string expression


def card(made: Sequence[DensePrompt], content: Mapping[str, Any], seed: int) -> str:
    """The README.md with the YAML head that Hugging Face reads; `content` is what the manifest will say."""
    figures = content["figures"]
    words = figures["words"]
    return f"""---
configs:
- config_name: prompts
  default: true
  data_files: prompts.parquet
- config_name: questions
  data_files: questions.parquet
task_categories:
- text-to-image
language:
- en
tags:
- text-to-image-evaluation
- synthetic
---

# DensePrompts

{len(made):,} dense prompts for text-to-image models, each drawn as a specification, written from it by a grammar, and
checked against it; {figures["n_questions"]:,} yes/no questions about what a picture of them must show. The prompts of
the paper (LLM4GEN, arXiv 2407.00737) were never published: this is a set of our own in their manner.

Seed {seed}; the same seed and version give the same bytes. No model wrote any of it, and nothing was copied from other
prompt sets. Prompts and questions may be used freely, under the licence of the llm4gen package (Apache-2.0).

## Files

| file | rows |
|---|---|
| `prompts.parquet`, `prompts.jsonl` | `prompt_id`, `prompt`, `category`, `n_words` (by white space), `spec` (JSON) |
| `questions.parquet` | `prompt_id`, `question_id`, `question`, `answer` (always yes), `kind`, `tuple`, `parent_ids` |
| `prompts.txt` | one prompt a line |

## Words a prompt

Mean {words["mean"]}, standard deviation {words["deviation"]}, median {words["median"]}, from {words["min"]} to
{words["max"]}.

```
{_bars(figures["histogram"])}
```

## What they are about

{_table("category", {name: figures["categories"].get(name, 0) for name in QUOTAS})}

{_table("skill the prompt was drawn for", figures["skills"])}

{_table("things named", figures["n_entities"])}

{_table("questions", figures["question_kinds"])}

## Language

{figures["distinct_nouns"]:,} different things, {figures["distinct_words"]:,} different words; in the first 72,000
words {figures["distinct_2"]:.2f} of the word pairs and {figures["distinct_4"]:.2f} of the four-word runs are distinct.
The largest 5-gram Jaccard similarity of two prompts is {figures["similarity_max"]:.2f}.

Drafts refused while building: {_listing(content["rejects"])}.

## Samples

{NEWLINE.join(f"- *{dense.prompt.category}*: {dense.prompt.prompt}" for dense in made[:N_SAMPLES])}
"""


def _bars(histogram: Mapping[str, int]) -> str:
    highest = max(histogram.values())
    return "\n".join(
        f"{name:>8s} {'#' * round(BAR_WIDTH * n / highest):{BAR_WIDTH}s} {n:,}" for name, n in histogram.items()
    )


def _table(name: str, counts: Mapping[str, int]) -> str:
    return "\n".join([f"| {name} | n |", "|---|---|", *(f"| {key} | {n:,} |" for key, n in counts.items())])


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} for {reason}" for reason, n in counts.items()) or "none"
