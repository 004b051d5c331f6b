"""What a training run is told; names are those of diffusers' training scripts where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from llm4gen_data.config import load_config
from llm4gen_model.llm import LLMSettings, settings_for

WHAT = {
    "cam": "A Cross-Adapter Module; the UNet is the base's own",
    "cam+unet": "A Cross-Adapter Module and the UNet that learned with it",
    "cam+unet-lora": "A Cross-Adapter Module and a LoRA of the UNet's attention that learned with it",
    "cam+cross-attention": "A Cross-Adapter Module and the UNet's cross-attention that learned with it",
    "unet": "A UNet without any language model",
}
"""What can be trained. `cam+unet` is the release's; `unet` is the paper's control "SD1.5 (ft)"; the other control,
CLIP features in the language model's place, is any of them with `llm.name: clip`."""


@dataclass(frozen=True, slots=True)
class LLMConfig(LLMSettings):
    """The language model whose features the CAM reads; `max_tokens` is the fixed length they are padded to."""

    name: str = "minilm"


@dataclass(frozen=True, slots=True)
class CamConfig:
    """A new CAM, or another connector in its place; its widths follow from the base model and the language model."""

    kind: Literal["cam", "ella", "resampler", "mlp"] = "cam"
    num_heads: int = 8
    """Of the CAM."""
    mask_padding: bool = False
    """Keep the language model's padding out of the condition; the release lets it in."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the other connectors: what their constructors take, such as num_layers."""


@dataclass(frozen=True, slots=True)
class EntityLossConfig:
    """The entity-guided loss (docs/entity-loss.md): an entity and its attributes are to be looked at alike."""

    weight: float = 0.0
    """0: off. Losses on cross-attention maps are given 1e-3 by TokenCompose, FastComposer and CoMat."""
    layers: tuple[str, ...] = ("mid_block", "up_blocks.1")
    """Parts of the names of the cross-attention layers that count, by default SD1.5's of 8 and 16 squared places at
    512 px; none given: all of them."""
    distance: Literal["l2", "l1", "kl"] = "l2"
    pairs: str = "spacy"
    """Who says what belongs together: spacy, scenes, stored (the column `entity_spans`), or `module:attribute`."""
    max_pairs: int = 16
    """Of a caption; the first ones count."""
    max_timestep: int | None = None
    """Leave out samples with more noise than at this time step."""

    def __post_init__(self) -> None:
        """Raise ValueError for values out of range."""
        if self.weight < 0:
            raise ValueError("weight: expected 0 (off) or more")
        if self.max_pairs < 1:
            raise ValueError("max_pairs: expected at least 1")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run; the same command again goes on from its last checkpoint."""

    data: Path
    """Run of `llm4gen-data recaption`, or a folder or file of such Parquet."""
    out: Path
    base: str = "mini"
    """mini, sd15, sdxl, a hub id, a diffusers folder, or a folder that `train` exported."""
    train: Literal["cam", "cam+unet", "cam+unet-lora", "cam+cross-attention", "unet"] = "cam"
    lora_rank: int = 16
    """Rank of the LoRA on the UNet's attention projections (`train: cam+unet-lora` only)."""
    unet_config: Path | None = None
    """Start from a UNet with fresh weights of this configuration (`train: unet` only)."""
    llm: LLMConfig = field(default_factory=LLMConfig)
    cam: CamConfig = field(default_factory=CamConfig)
    cache: Path | None = None
    """Cache of latents and language-model features; by default in the run directory."""

    captions: dict[str, float] = field(default_factory=lambda: {"caption": 1.0})
    """Text columns and how often each is used."""
    long_prompts: Literal["truncate", "chunk"] = "truncate"
    """chunk: the text encoder reads captions beyond its context in as many chunks as the longest caption needs."""
    resolution: int | None = None
    """Pixels; by default that of the base model."""
    proportion_empty_prompts: float = 0.1
    only_kept: bool = True
    """Leave out rows that the gates of recaption rejected."""
    aspect_ratio_buckets: bool = False
    """Bring images to sizes of like aspect ratio and about `resolution` squared pixels, instead of cutting squares."""
    cache_mode: Literal["disk", "none"] = "disk"
    """none: the VAE and the language model encode as training goes, nothing is kept."""
    cache_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """In which language-model features are kept."""
    cache_processes: int = 1
    """Processes that fill the cache, each with one thread and models of its own: for CPUs with many cores."""

    train_batch_size: int = 32
    """Pairs a step in all: processes and accumulation cut it into equal pieces, so that neither changes the result."""
    gradient_accumulation_steps: int = 1
    """Pieces that a process computes one after another."""
    max_train_steps: int = 1000
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Type of activations and matrix products; weights, their averages and the optimizer stay float32."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """Compile the UNet with torch.compile."""
    channels_last: bool = False
    """Keep the UNet's weights and activations with their channels last, as tensor cores like them."""
    optimizer: str = "adamw"
    """adamw; muon, for UNets and CAMs from random weights; or `module:attribute` called with the parameters, `lr` and
    `optimizer_options`, such as `bitsandbytes.optim:AdamW8bit`."""
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the optimizer; they win over `adam_*`, which only adamw and muon take. Of muon: `adamw_lr`,
    the learning rate of what is not a matrix (by default the same)."""
    learning_rate: float = 1e-4
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    lr_warmup_steps: int = 100
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_weight_decay: float = 1e-2
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    snr_gamma: float | None = None
    """Min-SNR weighting (arXiv 2303.09556); 5 is its authors' choice."""
    logit_mean: float | None = None
    """Draw time steps from a logit-normal distribution about this mean; by default they are uniform."""
    logit_std: float = 1.0
    ema_decay: float = 0.999
    """Of the moving average of the weights, a training step; it warms up (diffusers' EMAModel, power 0.75)."""
    ema_start_step: int = 0
    """The average starts as the weights of this step."""
    ema_interval: int = 1
    """Steps between two updates of the average, each with decay `ema_decay ** ema_interval`."""
    seed: int = 0

    # a second loss, on cross-attention maps
    entity_loss: EntityLossConfig = field(default_factory=EntityLossConfig)

    # validation, trackers
    validation_share: float = 0.0
    """Share of the images that training never sees; which ones is decided by their sha256. 0: no validation loss."""
    num_validation_pairs: int = 256
    """How many of their pairs the validation loss is a mean of, always with the same noise."""
    report_to: tuple[str, ...] = ()
    """Trackers of accelerate beside metrics.jsonl and report.html, such as tensorboard, wandb, trackio."""
    tracker_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments of each tracker, such as `wandb: {entity: lab, id: run-7, resume: allow}`."""

    resume: str = "auto"
    """A checkpoint file to begin from while `out` has none; auto: only those of `out`."""
    checkpointing_steps: int = 500
    checkpoints_total_limit: int = 2
    """How many of the last checkpoints are kept."""
    checkpoints_keep_best: int = 0
    """How many of those with the lowest validation loss are kept beside; above 0 each validation saves one."""
    logging_steps: int = 20
    validation_steps: int = 1000
    validation_prompts: tuple[str, ...] = ()
    """Prompts of the sample grid; by default some captions of the data."""
    num_validation_images: int = 8
    num_inference_steps: int = 25
    guidance_scale: float = 4.0
    device: str = "cpu"
    threads: int = 0
    """CPU threads; 0: as many as there are."""

    def __post_init__(self) -> None:
        """Raise ValueError for values that contradict each other."""
        if not self.captions or any(weight <= 0 for weight in self.captions.values()):
            raise ValueError("captions: expected at least one column with a weight above 0")
        if self.unet_config is not None and self.train != "unet":
            raise ValueError("unet_config: fresh UNet weights need train: unet")
        if self.mixed_precision == "fp16" and self.device == "cpu":
            raise ValueError("mixed_precision: fp16 needs a GPU; bf16 works on a CPU as well")
        if self.train_batch_size % max(self.gradient_accumulation_steps, 1):
            raise ValueError(
                f"gradient_accumulation_steps: expected a divisor of train_batch_size ({self.train_batch_size})"
            )
        if not 0 <= self.proportion_empty_prompts < 1:
            raise ValueError("proportion_empty_prompts: expected 0 to below 1")
        if not 0 <= self.validation_share < 1:
            raise ValueError("validation_share: expected 0 to below 1")
        if self.checkpoints_keep_best and not self.validation_share:
            raise ValueError(
                "checkpoints_keep_best: the best is told by a validation loss, which needs validation_share"
            )
        for name in AT_LEAST_1:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1")

    @property
    def uses_llm(self) -> bool:
        """Whether a language model takes part."""
        return self.train != "unet"


AT_LEAST_1 = (
    "train_batch_size",
    "gradient_accumulation_steps",
    "max_train_steps",
    "lora_rank",
    "cache_processes",
    "ema_interval",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "logging_steps",
    "validation_steps",
    "num_validation_pairs",
    "num_validation_images",
)

# What may differ between two starts of the same run: none of it changes the weights by more than rounding.
NOT_IN_FINGERPRINT = (
    "out",
    "data",
    "cache",
    "cache_mode",
    "cache_dtype",
    "cache_processes",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "compile",
    "channels_last",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "checkpoints_keep_best",
    "logging_steps",
    "validation_steps",
    "validation_prompts",
    "num_validation_images",
    "num_validation_pairs",
    "report_to",
    "tracker_options",
    "num_inference_steps",
    "guidance_scale",
    "device",
    "threads",
)


def load_train_config(file: Path | None, sets: Sequence[str], flags: Mapping[str, Any]) -> TrainConfig:
    """The configuration from file, `--set` and flags; a known language model brings the settings it is used with."""
    name = load_config(TrainConfig, file, sets, flags).llm.name
    usual, meant = asdict(LLMSettings()), asdict(settings_for(name))
    defaults = {"llm": {key: value for key, value in meant.items() if value != usual[key]}}
    return load_config(TrainConfig, file, sets, flags, defaults=defaults)


def fingerprint_of(config: TrainConfig, plain: dict[str, Any]) -> dict[str, Any]:
    """The part of the configuration that decides the weights; a constant learning rate may be trained for longer."""
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_FINGERPRINT}
    if config.lr_scheduler.startswith("constant"):
        del kept["max_train_steps"]
    if not config.entity_loss.weight:
        del kept["entity_loss"]
    if not config.validation_share:
        del kept["validation_share"]
    if config.long_prompts == "truncate":
        del kept["long_prompts"]
    if config.uses_llm:
        # Settings younger than the first runs count where they are not the default; offloading changes no value.
        default = LLMConfig()
        kept["llm"] = {
            key: value
            for key, value in kept["llm"].items()
            if key in ("name", "max_tokens", "dtype") or (key != "offload" and value != getattr(default, key))
        }
    else:
        del kept["llm"], kept["cam"]
    return kept
