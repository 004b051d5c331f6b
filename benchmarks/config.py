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
class CompbenchOptions:
    """What looks at the pictures for T2I-CompBench; the protocol is the suite's.

    `vqa`, `detector` and `depth` are names in the tables of `metrics.vqa` and `metrics.detection` or
    `module:attribute`, their options keywords of theirs; `clip` is what `clip_score.model` takes.
    """

    vqa: str = "blip_vqa"
    vqa_options: dict[str, Any] = field(default_factory=dict)
    detector: str = "unidet"
    detector_options: dict[str, Any] = field(default_factory=dict)
    depth: str = "dpt"
    depth_options: dict[str, Any] = field(default_factory=dict)
    clip: str = "openai/clip-vit-base-patch32"
    clip_revision: str | None = None
    clip_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What to score, by which metrics, and how sure to be.

    Images come from `images`, folders that `llm4gen-model generate` wrote or, with another `layout`, other tools
    (`importers.importer`; `prompts` is the file of prompts that they are of, else the suite's), or are drawn by
    `models` with the options in `generate` (keys of `llm4gen_model.generate.run.GenerateConfig`). With `strict`,
    whatever there is to tell about the images stops the run. No `metrics`: those of the suite. Intervals are of 95 %
    from `n_resamples` bootstrap resamples of the prompts.
    """

    suite: str = ""
    images: tuple[Path, ...] = ()
    layout: str = "manifest"
    prompts: Path | None = None
    strict: bool = False
    models: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    allow_missing: bool = False
    generate: dict[str, Any] = field(default_factory=dict)
    clip_score: ClipScoreOptions = field(default_factory=ClipScoreOptions)
    t2i_compbench: CompbenchOptions = field(default_factory=CompbenchOptions)
    batch_size: int = 32
    n_resamples: int = 10_000
    bootstrap_seed: int = 0
    max_gallery_rows: int = 120
