"""What `generate` draws, with what, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from llm4gen_data.config import to_plain
from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.recaption.captioner import Engine

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class UpsampleConfig:
    """How prompts of fewer than `shorter_than` words are rewritten as dense ones; `model` None: they are not.

    `model` is a folder or hub id for vLLM in this process or, with `engine.base_url`, an OpenAI-compatible server's
    name for it; with `structured` its answers are held to a JSON schema. `tries` answers are asked for at most. A
    rewriting has at most `max_words` words.
    """

    model: str | None = None
    revision: str | None = None
    shorter_than: int = 40
    max_words: int = 120
    tries: int = 3
    structured: bool = True
    max_tokens: int = 384
    temperature: float = 0.7
    top_p: float = 0.95
    engine: Engine = field(default_factory=Engine)

    def chat_config(self) -> LlmConfig:
        """As the engines of chat models are told."""
        return LlmConfig(
            model=self.model,
            revision=self.revision,
            structured=self.structured,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            engine=self.engine,
        )


@dataclass(frozen=True, slots=True)
class GenerateConfig:
    """What to draw, with what, and how.

    `models` are what `models.load_model` takes, and so are `base`, `llm`, `llm_dtype`, `llm_quantize`, `dtype`,
    `device` and `offload`, for all of them; with `compare` "base" each gets its own base beside it. `prompts`,
    `n_prompts` (None: all) and `prompt_seed` are what `prompts.load_prompts` takes. Sample j of every prompt starts
    from the noise of `seed` + j; with `noise_per_prompt`, from that of the next seed that no prompt before it had, so
    that a score does not hang on a few noises. `guidance_rescale` (arXiv 2305.08891, where 0.7 is advised) keeps
    guided pictures of models with zero terminal SNR, such as mini, from over-exposure. `scheduler` is the name of a
    diffusers scheduler, `height` and `width` are pixels (None: the model's own). `batch_size`, `device`, `offload` and
    `compile` change images by rounding only, and a run may go on with others.
    """

    models: tuple[str, ...]
    prompts: str
    n_prompts: int | None = None
    prompt_seed: int = 0
    compare: Literal["base"] | None = None
    samples_per_prompt: int = 1
    seed: int = 0
    noise_per_prompt: bool = False
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.0
    negative_prompt: str = ""
    cam_scale: float | None = None
    drop_llm_tokens: bool = False
    long_prompts: Literal["truncate", "chunk"] = "truncate"
    prompt_weights: bool = False
    scheduler: str | None = None
    height: int | None = None
    width: int | None = None
    batch_size: int = 8
    device: str = "cpu"
    dtype: Dtype = "float32"
    base: str | None = None
    llm: str | None = None
    llm_dtype: Dtype | None = None
    llm_quantize: Literal["8bit", "4bit"] | None = None
    offload: bool = False
    compile: bool = False
    upsample: UpsampleConfig = field(default_factory=UpsampleConfig)

    def __post_init__(self) -> None:
        """Raise ValueError for values that nothing can be drawn with."""
        if not self.models:
            raise ValueError("models: expected at least one")
        for name in ("samples_per_prompt", "num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1")
        if self.seed < 0:
            raise ValueError("seed: expected at least 0")
        for name in ("guidance_scale", "guidance_rescale", "cam_scale"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name}: expected a finite number")
        for name in ("height", "width"):
            pixels = getattr(self, name)
            if pixels is not None and (pixels < 8 or pixels % 8):
                raise ValueError(f"{name}: expected a multiple of 8")


# What has always been in a run's fingerprint, and what joins it only where it is not the default, so that runs begun
# by earlier versions go on. What the prompts, the models and the rewriter are is told by their hashes.
ALWAYS_SAMPLING = (
    "samples_per_prompt",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "negative_prompt",
    "cam_scale",
    "dtype",
)
LATER_SAMPLING = (
    "noise_per_prompt",
    "guidance_rescale",
    "drop_llm_tokens",
    "long_prompts",
    "prompt_weights",
    "scheduler",
    "height",
    "width",
)


def sampling_identity(config: GenerateConfig) -> dict[str, Any]:
    """Everything in the configuration itself that can change an image, as JSON values."""
    plain, default = to_plain(config), to_plain(GenerateConfig(models=("any",), prompts="any"))
    always = {key: plain[key] for key in ALWAYS_SAMPLING}
    if always["cam_scale"] is None:
        always["cam_scale"] = 1.0  # what a CAM has without a word; another one's own scale is told with the model
    return always | {key: plain[key] for key in LATER_SAMPLING if plain[key] != default[key]}
