"""T2I-CompBench as suites, one for each version of the protocol and each mode."""

from __future__ import annotations

from benchmarks.suites.suite import Suite, by_category
from benchmarks.suites.t2i_compbench.linguistics import facts_of
from benchmarks.suites.t2i_compbench.protocol import ATTRIBUTES, NAME, VERSIONS
from benchmarks.suites.t2i_compbench.rules import Mode
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

METRIC_OF = {
    **dict.fromkeys(ATTRIBUTES, "t2i_compbench.blip_vqa"),
    "spatial": "t2i_compbench.spatial_2d",
    "3d_spatial": "t2i_compbench.spatial_3d",
    "numeracy": "t2i_compbench.numeracy",
    "non_spatial": "t2i_compbench.clip",
    "complex": "t2i_compbench.three_in_one",
}
PROMPTS = "benchmarks.suites.t2i_compbench.prompts"
FIRST_SEED = 42  # image n of a prompt starts from seed 42 + n


def _split(prompt: Prompt) -> str | None:
    """By the published files of seen and unseen pairs; prompts of the user's own have none."""
    try:
        return facts_of(prompt.spec, prompt.prompt_id).split
    except UserError:  # a metric that needs the analysis has said so before
        return None


def _suite(version: str, mode: Mode, prompts: str) -> Suite:
    known = VERSIONS[version]
    return Suite(
        metrics=tuple(dict.fromkeys(METRIC_OF[category] for category in known.categories)),
        prompts=f"{PROMPTS}:{prompts}",
        n_prompts=300 * len(known.categories),
        group=by_category,
        protocol=f"{NAME}@{version}/{mode}",
        by_category={category: (METRIC_OF[category],) for category in known.categories},
        split=_split,
        generate={"samples_per_prompt": known.images_per_prompt, "seed": FIRST_SEED},
    )


OFFICIAL_2023_07 = _suite("2023-07", "official", "prompts_2023_07")
FIXED_2023_07 = _suite("2023-07", "fixed", "prompts_2023_07")
OFFICIAL_2023_12 = _suite("2023-12", "official", "prompts_2023_07")
FIXED_2023_12 = _suite("2023-12", "fixed", "prompts_2023_07")
OFFICIAL_2024_01 = _suite("2024-01", "official", "prompts_2023_07")
FIXED_2024_01 = _suite("2024-01", "fixed", "prompts_2023_07")
OFFICIAL_2024_03 = _suite("2024-03", "official", "prompts_2024_03")
FIXED_2024_03 = _suite("2024-03", "fixed", "prompts_2024_03")
OFFICIAL_2025_01 = _suite("2025-01", "official", "prompts_2024_03")
FIXED_2025_01 = _suite("2025-01", "fixed", "prompts_2024_03")
OFFICIAL_2025_09 = _suite("2025-09", "official", "prompts_2025_09")
FIXED_2025_09 = _suite("2025-09", "fixed", "prompts_2025_09")
