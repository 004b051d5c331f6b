"""The configuration of `llm4gen-bench run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ClipScoreOptions:
    """Which CLIP model scores.

    `model` is a bundled one, a folder or a hub id; "auto" is clip-mini where the pictures are at most 64 px, else
    openai/clip-vit-large-patch14.
    """

    model: str = "auto"
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What to score, by which metrics, and how sure to be.

    Images come from `images`, folders that `llm4gen-model generate` wrote, or are drawn by `models` with the
    options in `generate` (keys of `llm4gen_model.generate.run.GenerateConfig`). No `metrics`: those of the suite.
    Intervals are of 95 % from `n_resamples` bootstrap resamples of the prompts.
    """

    suite: str = ""
    images: tuple[Path, ...] = ()
    models: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    allow_missing: bool = False
    generate: dict[str, Any] = field(default_factory=dict)
    clip_score: ClipScoreOptions = field(default_factory=ClipScoreOptions)
    batch_size: int = 32
    n_resamples: int = 10_000
    bootstrap_seed: int = 0
    max_gallery_rows: int = 120
