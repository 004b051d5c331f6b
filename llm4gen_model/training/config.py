"""What a training run is told; names are those of diffusers' training scripts where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

TRAINABLE = ("cam", "cam+unet", "unet")


@dataclass(frozen=True, slots=True)
class LLMConfig:
    """The language model whose features the CAM reads; `max_tokens` is the fixed length they are padded to."""

    name: str = "minilm"
    max_tokens: int = 128
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


@dataclass(frozen=True, slots=True)
class CamConfig:
    """Shape of a new CAM; its widths follow from the base model and the language model."""

    num_heads: int = 8


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run; the same command again goes on from its last checkpoint."""

    data: Path
    """Run of `llm4gen-data recaption`, or a folder or file of such Parquet."""
    out: Path
    base: str = "mini"
    """mini, sd15, sdxl, a hub id, a diffusers folder, or a folder that `train` exported."""
    train: Literal["cam", "cam+unet", "unet"] = "cam"
    unet_config: Path | None = None
    """Start from a UNet with fresh weights of this configuration (`train: unet` only)."""
    llm: LLMConfig = field(default_factory=LLMConfig)
    cam: CamConfig = field(default_factory=CamConfig)
    cache: Path | None = None
    """Cache of latents and language-model features; by default in the run directory."""

    captions: dict[str, float] = field(default_factory=lambda: {"caption": 1.0})
    """Text columns and how often each is used."""
    resolution: int | None = None
    """Pixels; by default that of the base model."""
    proportion_empty_prompts: float = 0.1
    only_kept: bool = True
    """Leave out rows that the gates of recaption rejected."""

    train_batch_size: int = 32
    max_train_steps: int = 1000
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
    seed: int = 0

    checkpointing_steps: int = 500
    checkpoints_total_limit: int = 2
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
        if not 0 <= self.proportion_empty_prompts < 1:
            raise ValueError("proportion_empty_prompts: expected 0 to below 1")
        for name in ("train_batch_size", "max_train_steps", "checkpointing_steps", "logging_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1")

    @property
    def uses_llm(self) -> bool:
        """Whether a language model takes part."""
        return self.train != "unet"


# What may differ between two starts of the same run: none of it changes the weights.
NOT_IN_FINGERPRINT = (
    "out",
    "data",
    "cache",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "logging_steps",
    "validation_steps",
    "validation_prompts",
    "num_validation_images",
    "num_inference_steps",
    "guidance_scale",
    "device",
    "threads",
)


def fingerprint_of(config: TrainConfig, plain: dict[str, Any]) -> dict[str, Any]:
    """The part of the configuration that decides the weights; a constant learning rate may be trained for longer."""
    kept = {key: value for key, value in plain.items() if key not in NOT_IN_FINGERPRINT}
    if config.lr_scheduler.startswith("constant"):
        del kept["max_train_steps"]
    if not config.uses_llm:
        del kept["llm"], kept["cam"]
    return kept
