"""DensePrompts: 7,000 long prompts, most of them longer than a CLIP text encoder reads, and their twins.

A twin is a prompt with one claim turned round. A metric that reads a claim scores a picture of the prompt higher
against the prompt than against its twin; how often it does is what the metric can be believed for that claim.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from benchmarks.metrics.metric import Metric
    from benchmarks.records import Score
    from llm4gen_data.densprompts.build import DensePrompt
    from llm4gen_data.records import Prompt

# Needs no weights but CLIP's; FULL adds what the paper's Fig. 6 needs, of the same image pass, and the questions.
LONG_TEXT = ("clip_score", "clip_score.chunk_mean", "clip_score.chunk_min")
SUITE = Suite(metrics=LONG_TEXT, prompts="densprompts", n_prompts=7000, group=by_category)
FULL = replace(SUITE, metrics=("clip_score", "aesthetic", *LONG_TEXT[1:], "dsg"))


N_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class TwinPreference:
    """How often pictures scored higher for their prompt than for its twin; a tie counts half, chance is 0.5.

    `low` and `high` are the 95 % interval of `share`, clustered by prompt; `n_failed` pairs have no score on one side.
    """

    kind: str
    n_pairs: int
    n_ties: int
    n_failed: int
    share: float | None
    low: float | None
    high: float | None


def twin_preferences(
    metric: Metric, images: Sequence[Image], dense: Sequence[DensePrompt], *, batch_size: int = 32
) -> list[TwinPreference]:
    """Score each upright RGB image against its prompt and against each of the prompt's twins, by kind of twin.

    `dense[i]` (from `llm4gen_data.densprompts.read.read_set`) is what `images[i]` shows. Raises UserError if their
    numbers differ, or if no prompt has a twin.
    """
    if len(images) != len(dense):
        raise UserError(f"{len(images)} images of {len(dense)} prompts, expected one of each")
    pairs = [(i, twin) for i, shown in enumerate(dense) for twin in shown.twins]
    if not pairs:
        raise UserError("none of these prompts has a twin")
    true = [shown.prompt for shown in dense]
    false = [replace(true[i], prompt=twin.prompt, spec=twin.spec.to_json()) for i, twin in pairs]
    metric.check([*true, *false])
    of_true = _values(metric, images, true, batch_size)
    of_false = _values(metric, [images[i] for i, _ in pairs], false, batch_size)
    gains: dict[str, list[tuple[str, float | None]]] = defaultdict(list)
    for (i, twin), value in zip(pairs, of_false, strict=True):
        ours = of_true[i]
        gain = None if ours is None or value is None else ours - value
        gains[twin.kind].append((true[i].prompt_id, gain))
    return [_preference(kind, own) for kind, own in sorted(gains.items())]


def _values(metric: Metric, images: Sequence[Image], prompts: Sequence[Prompt], batch_size: int) -> list[float | None]:
    """The headline score of each pair; None where there is none."""
    scores: list[list[Score]] = []
    for start in range(0, len(images), batch_size):
        scores += metric.score(images[start : start + batch_size], prompts[start : start + batch_size])
    return [next((score.value for score in own if score.kind == metric.headline), None) for own in scores]


def _preference(kind: str, gains: Sequence[tuple[str, float | None]]) -> TwinPreference:
    from benchmarks.stats import clustered_share

    known = [(prompt_id, gain) for prompt_id, gain in gains if gain is not None]
    right = [0.5 if gain == 0 else float(gain > 0) for _, gain in known]
    share = clustered_share(right, [prompt_id for prompt_id, _ in known], n_resamples=N_RESAMPLES, seed=0)
    n_failed = len(gains) - len(known)
    return TwinPreference(kind, len(known), right.count(0.5), n_failed, share.mean, share.low, share.high)
