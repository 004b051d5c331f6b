"""What a suite is, and the table of suites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve

SUITES = {
    "own": "benchmarks.suites.own:SUITE",
    "scenes": "benchmarks.suites.scenes:SUITE",
    "densprompts": "benchmarks.suites.densprompts:SUITE",
    "dpg/official": "benchmarks.suites.dpg:OFFICIAL",
    "dpg/fixed": "benchmarks.suites.dpg:FIXED",
    "geneval": "benchmarks.suites.geneval:SUITE",
    "coco": "benchmarks.suites.coco:SUITE",
    "densprompts/full": "benchmarks.suites.densprompts:FULL",
    "t2i-compbench@2025-09/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2025_09",
    "t2i-compbench@2025-09/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2025_09",
    "t2i-compbench@2025-01/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2025_01",
    "t2i-compbench@2025-01/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2025_01",
    "t2i-compbench@2024-03/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2024_03",
    "t2i-compbench@2024-03/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2024_03",
    "t2i-compbench@2024-01/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2024_01",
    "t2i-compbench@2024-01/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2024_01",
    "t2i-compbench@2023-12/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2023_12",
    "t2i-compbench@2023-12/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2023_12",
    "t2i-compbench@2023-07/official": "benchmarks.suites.t2i_compbench.suite:OFFICIAL_2023_07",
    "t2i-compbench@2023-07/fixed": "benchmarks.suites.t2i_compbench.suite:FIXED_2023_07",
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark: default `metrics`, the first of which leads the report; where its prompts come from; their groups.

    `prompts` is what `llm4gen_data.prompts.load_prompts` takes (empty: the user must say) and `n_prompts` how many of
    them `--model` draws, with
    `generate` as its default options; `group` names the category under which a prompt's scores are also told.
    `protocol` is the published procedure that its metrics follow, and each of them is told; `by_category` are the
    metrics of each category where not all judge all. `split` says whether training may have shown what a prompt
    asks for: "seen", "unseen", or None where that is not known.
    """

    metrics: tuple[str, ...]
    prompts: str
    n_prompts: int
    group: Callable[[Prompt], str]
    protocol: str | None = None
    by_category: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    generate: Mapping[str, Any] = field(default_factory=dict)
    split: Callable[[Prompt], str | None] | None = None

    def metrics_of(self, category: str) -> tuple[str, ...]:
        """The metrics that judge prompts of a category; none if the suite has no such category."""
        return self.by_category.get(category, ()) if self.by_category else self.metrics


def splits_of(suite: str, prompts: Iterable[Prompt]) -> dict[str, str | None]:
    """The split of each prompt by its id; none if the suite (an entry of SUITES, or module:attribute) knows none."""
    split = resolve("suite", suite, SUITES).split
    return {prompt.prompt_id: split(prompt) for prompt in prompts} if split is not None else {}


def by_category(prompt: Prompt) -> str:
    """Group prompts as their prompt set does."""
    return prompt.category
