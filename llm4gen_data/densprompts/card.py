"""The data set card of a built prompt set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm4gen_data.densprompts.build import DensePrompt
from llm4gen_data.densprompts.coverage import (
    CLOUD_PICTURE,
    LENGTHS_PICTURE,
    NEWLINE,
    diversity_table,
    leakage_table,
    table,
    tokens_line,
)
from llm4gen_data.densprompts.taxonomy import QUOTAS

N_SAMPLES = 12


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
- config_name: twins
  data_files: twins.parquet
license: apache-2.0
task_categories:
- text-to-image
language:
- en
tags:
- text-to-image-evaluation
- synthetic
---

# {content["version"] or "DensePrompts"}

{len(made):,} dense prompts for text-to-image models, each drawn as a specification, written from it, and checked
against it; {figures["n_questions"]:,} yes/no questions about what a picture of them must show; and
{figures["n_twins"]:,} twins of prompts, in which one claim is turned round. The prompts of the paper (LLM4GEN, arXiv
2407.00737) were never published: this is a set of our own in their manner.

{_origin(content, seed)} Nothing was copied from other prompt sets. Prompts and questions may be used freely, under the
licence of the llm4gen package (Apache-2.0). sha256 of `prompts.jsonl`: `{content["sha256"]["prompts.jsonl"]}`.

## Files

| file | rows |
|---|---|
| `prompts.parquet`, `prompts.jsonl` | `prompt_id`, `prompt`, `category`, `n_words` (by white space), `spec` (JSON) |
| `questions.parquet` | `prompt_id`, `question_id`, `question`, `answer`, `kind`, `tuple`, `parent_ids`, `skill` |
| `twins.parquet` | `prompt_id`, `twin_id`, `kind`, `prompt`, `spec`, `false_question_ids`: those whose answer is no |
| `prompts.txt` | one prompt a line |
| `coverage.md` | every quota, color, sentence plan and public set in tables |

## Words a prompt

![words in a prompt]({LENGTHS_PICTURE})

Mean {words["mean"]}, standard deviation {words["deviation"]}, median {words["median"]}, from {words["min"]} to
{words["max"]}. {tokens_line(figures)}

## What they are about

{table(("category", "n"), [(name, figures["categories"][name]) for name in QUOTAS if name in figures["categories"]])}

{table(("skill the prompt was drawn for", "n"), figures["skills"].items())}

{table(("questions", "n"), figures["question_kinds"].items())}

## Language

![the words in most prompts]({CLOUD_PICTURE})

{diversity_table(figures["diversity"])}

{figures["distinct_nouns"]:,} different things. No two prompts share more than {figures["similarity"]["max"]:.2f} of
their 5-word shingles (Jaccard).

{leakage_table(content.get("leakage", ()))}

## Samples

{NEWLINE.join(f"- *{dense.prompt.category}*: {dense.prompt.prompt}" for dense in made[:N_SAMPLES])}
"""


def _origin(content: Mapping[str, Any], seed: int) -> str:
    if content["writer"] == "grammar":
        return f"Seed {seed}; the same seed and version give the same bytes. A grammar wrote them, no model."
    return f"Seed {seed} for the specifications; a language model wrote the texts ({content['llm']['model']})."
