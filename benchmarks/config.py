"""The configuration of `llm4gen-bench run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class ClipScoreOptions:
    """Which CLIP model scores.

    `model` is a bundled one, a folder or a hub id; "auto" is clip-mini where the pictures are at most 64 px, else
    openai/clip-vit-large-patch14.
    """

    model: str = "auto"
    revision: str | None = None
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class LongClipOptions:
    """A CLIP that reads 248 tokens, in transformers' format."""

    model: str = "zer0int/LongCLIP-GmP-ViT-L-14"
    revision: str | None = None
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class AestheticOptions:
    """The file of the head, and the CLIP whose image embeddings it judges."""

    head: Path | None = None
    model: str = "openai/clip-vit-large-patch14"
    revision: str | None = None
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class PickScoreOptions:
    """The model, and where its tokenizer and preprocessing come from."""

    model: str = "yuvalkirstain/PickScore_v1"
    processor: str | None = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    revision: str | None = None
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class HpsOptions:
    """The file of the weights, which version they are of, and where the tokenizer comes from."""

    weights: Path | None = None
    hps_version: Literal["2.1", "2.0"] = "2.1"
    tokenizer: str = "openai/clip-vit-large-patch14"
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRewardOptions:
    """The file of the weights, and where BERT's tokenizer comes from."""

    weights: Path | None = None
    vocabulary: str = "bert-base-uncased"
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class FidOptions:
    """What pictures as a whole are compared with, and by whose features.

    `mode` is clean, torch-fidelity, torchmetrics, clip or an encoder `module:attribute`; `model` the file of the
    Inception's weights (else the one in the cache) or, for clip, which CLIP. `reference` is a folder of real pictures
    or an .npz file of statistics.
    """

    reference: Path | None = None
    mode: str = "clean"
    model: str = ""
    revision: str | None = None
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    is_splits: int = 10
    seed: int = 0
    dtype: Dtype = "float32"
    device: str | None = None


@dataclass(frozen=True, slots=True)
class CompbenchOptions:
    """What looks at the pictures for T2I-CompBench; the protocol is the suite's.

    `vqa`, `detector` and `depth` are names in the tables of `metrics.vqa` and `metrics.detection` or
    `module:attribute`, their options keywords of theirs; `clip` is what `clip_score.model` takes. All of them run on
    `device` but programs of the user's and vLLM.
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
    device: str | None = None


@dataclass(frozen=True, slots=True)
class VqaScoreOptions:
    """The model that is asked (a name in the table of `metrics.vqa`) and how; "auto": the template that suits it."""

    vqa: str = "transformers"
    vqa_options: dict[str, Any] = field(default_factory=dict)
    template: str = "auto"
    device: str | None = None


@dataclass(frozen=True, slots=True)
class DsgOptions:
    """The model that answers, a name in the table of `metrics.vqa`, and a file of questions (else each spec's)."""

    vqa: str = "transformers"
    vqa_options: dict[str, Any] = field(default_factory=dict)
    questions: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class DpgOptions:
    """The model that answers, and whether an image is a picture or a 2 x 2 grid of them."""

    vqa: str = "transformers"
    vqa_options: dict[str, Any] = field(default_factory=dict)
    pictures: Literal["single", "grid"] = "single"
    device: str | None = None


@dataclass(frozen=True, slots=True)
class GenEvalOptions:
    """What finds objects, what names their colours, and the scores above which an object counts."""

    detector: str = "mask2former"
    detector_options: dict[str, Any] = field(default_factory=dict)
    clip: str = "openai/clip-vit-large-patch14"
    clip_revision: str | None = None
    threshold: float = 0.3
    counting_threshold: float = 0.9
    dtype: Dtype | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class T2vMetricsOptions:
    """A model of the package t2v_metrics and the interpreter that holds it; a batch may take `timeout_s`."""

    model: str = "clip-flant5-xxl"
    python: str = ".t2v-metrics/bin/python"
    device: str | None = None
    start_timeout_s: float = 3600
    timeout_s: float = 1800


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What to score, by which metrics, and how sure to be.

    Images come from `images`, folders that `llm4gen-model generate` wrote or, with another `layout`, other tools
    (`importers.importer`; `prompts` is the file of prompts that they are of, else the suite's), or are drawn by
    `models` with the options in `generate` (keys of `llm4gen_model.generate.run.GenerateConfig`). With `strict`,
    whatever there is to tell about the images stops the run. No `metrics`: those of the suite. What people said of the
    images stands beside the metrics if `study` is the result of `study analyse`. Intervals are of 95 % from
    `n_resamples` bootstrap resamples of the prompts.

    Images are scored in `processes` processes; what encoders saw in them is kept in the file `feature_cache`, by
    default in the run's folder. `device` and `dtype` are those of every metric of which nothing else is said.
    """

    suite: str = ""
    images: tuple[Path, ...] = ()
    layout: str = "manifest"
    prompts: Path | None = None
    study: Path | None = None
    strict: bool = False
    models: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    allow_missing: bool = False
    generate: dict[str, Any] = field(default_factory=dict)
    clip_score: ClipScoreOptions = field(default_factory=ClipScoreOptions)
    long_clip: LongClipOptions = field(default_factory=LongClipOptions)
    aesthetic: AestheticOptions = field(default_factory=AestheticOptions)
    pick_score: PickScoreOptions = field(default_factory=PickScoreOptions)
    hps: HpsOptions = field(default_factory=HpsOptions)
    image_reward: ImageRewardOptions = field(default_factory=ImageRewardOptions)
    vqascore: VqaScoreOptions = field(default_factory=VqaScoreOptions)
    fid: FidOptions = field(default_factory=FidOptions)
    dsg: DsgOptions = field(default_factory=DsgOptions)
    dpg: DpgOptions = field(default_factory=DpgOptions)
    geneval: GenEvalOptions = field(default_factory=GenEvalOptions)
    t2v_metrics: T2vMetricsOptions = field(default_factory=T2vMetricsOptions)
    t2i_compbench: CompbenchOptions = field(default_factory=CompbenchOptions)
    batch_size: int = 32
    processes: int = 1
    device: str = "cpu"
    dtype: Dtype = "float32"
    feature_cache: Path | None = None
    n_resamples: int = 10_000
    bootstrap_seed: int = 0
    max_gallery_rows: int = 120
