"""The configurations of `llm4gen-bench study make` and `study analyse`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.study.records import Axis, ExclusionRules

# The paper's two criteria; looks are judged before anyone has read the prompt.
PAPER_AXES = (
    Axis("aesthetic", "Which picture looks better?", shows_prompt=False),
    Axis("semantic", "Which picture fits the text better?", shows_prompt=True),
)


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """Which pictures are compared, by how many raters, and how it is checked that they look.

    Images come from `images` in the given `layout` as for `llm4gen-bench run`. `opponents`: every model against
    every other, or the first against each other one. Of each prompt `images_per_prompt` images are shown (0: all),
    of all prompts `n_prompts` (0: all), the same number of each category as far as there are. Every pair is judged by
    `raters_per_pair` raters, every rater judges about `pairs_per_rater` pairs on each axis, and beside them
    `gold_per_axis` pairs with a known answer and `repeat_share` of the pairs again with sides swapped.

    `size_px` is the longer side that every picture is brought to (0: the smallest picture's, at most 1024). The
    forecast holds at `power` and 5 %, with `prompt_correlation` between votes of different raters on a pair.
    """

    images: tuple[Path, ...] = ()
    layout: str = "manifest"
    prompts: Path | None = None
    allow_missing: bool = False
    title: str = "Compare pictures"
    axes: tuple[Axis, ...] = PAPER_AXES
    forced_choice: bool = False
    opponents: Literal["all", "first"] = "all"
    n_prompts: int = 0
    images_per_prompt: int = 1
    raters_per_pair: int = 3
    pairs_per_rater: int = 30
    gold_per_axis: int = 2
    repeat_share: float = 0.1
    size_px: int = 0
    seed: int = 0
    power: float = 0.8
    prompt_correlation: float = 0.2
    exclude: ExclusionRules = field(default_factory=ExclusionRules)


@dataclass(frozen=True, slots=True)
class AnalysisConfig:
    """What to make of a study's votes.

    `model` is the one whose win rates are told (default: the key's first), `published` "paper" or a CSV file of win
    rates to set beside them, `results` run directories of `llm4gen-bench run` whose metrics are held against the
    raters, `card` a YAML file of what only the people who ran the study know (the keys of `card.Card`), `raters`
    what `study import --from prolific` told of them. Intervals are of 95 % from `n_resamples` resamples, a tenth as
    many for strengths and correlations.
    """

    study: Path
    votes: Path | None = None
    model: str | None = None
    published: tuple[str, ...] = ()
    results: tuple[Path, ...] = ()
    card: Path | None = None
    raters: Path | None = None
    n_resamples: int = 10_000
    bootstrap_seed: int = 0
