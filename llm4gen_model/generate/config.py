"""What `generate` draws, with what, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class GenerateConfig:
    """What to draw, with what, and how.

    `models` are what `models.load_model` takes; `prompts`, `n_prompts` (None: all) and `prompt_seed` what
    `prompts.load_prompts` takes. Sample j of every prompt starts from the noise of `seed` + j. `batch_size` and
    `device` change images by rounding only, and a run may go on with others.
    """

    models: tuple[str, ...]
    prompts: str
    n_prompts: int | None = None
    prompt_seed: int = 0
    samples_per_prompt: int = 1
    seed: int = 0
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    cam_scale: float = 1.0
    batch_size: int = 8
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    def __post_init__(self) -> None:
        """Raise ValueError for values that nothing can be drawn with."""
        if not self.models:
            raise ValueError("models: expected at least one")
        for name in ("samples_per_prompt", "num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1")
        if self.seed < 0:
            raise ValueError("seed: expected at least 0")
        for name in ("guidance_scale", "cam_scale"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}: expected a finite number")


# What may differ between two starts of the same run: what the prompts and models are is told by their hashes.
NOT_IN_FINGERPRINT = ("models", "prompts", "n_prompts", "prompt_seed", "batch_size", "device")
