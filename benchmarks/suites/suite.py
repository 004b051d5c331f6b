"""What a suite is, and the table of suites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm4gen_data.records import Prompt

SUITES = {
    "scenes": "benchmarks.suites.scenes:SUITE",
    "densprompts": "benchmarks.suites.densprompts:SUITE",
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark: default `metrics`, the first of which leads the report; where its prompts come from; their groups.

    `prompts` is what `llm4gen_data.prompts.load_prompts` takes and `n_prompts` how many of them `--model` draws;
    `group` names the category under which a prompt's scores are also told.
    """

    metrics: tuple[str, ...]
    prompts: str
    n_prompts: int
    group: Callable[[Prompt], str]


def by_category(prompt: Prompt) -> str:
    """Group prompts as their prompt set does."""
    return prompt.category
