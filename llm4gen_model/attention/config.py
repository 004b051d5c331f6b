"""What `attention` draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llm4gen_model.generate.config import Dtype, GenerateConfig


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """One image and the words whose attention is shown.

    `words` are words or phrases of the prompt (none: its words of content); `layers` parts of names of the UNet's
    cross-attention layers (none: all of them). The rest is as in `GenerateConfig`.
    """

    model: str
    prompt: str
    words: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    seed: int = 0
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    cam_scale: float | None = None
    long_prompts: Literal["truncate", "chunk"] = "truncate"
    prompt_weights: bool = False
    scheduler: str | None = None
    height: int | None = None
    width: int | None = None
    device: str = "cpu"
    dtype: Dtype = "float32"
    base: str | None = None
    llm: str | None = None
    llm_dtype: Dtype | None = None
    llm_quantize: Literal["8bit", "4bit"] | None = None
    offload: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for values that nothing can be drawn with."""
        if not self.prompt.strip():
            raise ValueError("prompt: expected a text")
        self.drawing()

    def drawing(self) -> GenerateConfig:
        """How the image itself is drawn."""
        return GenerateConfig(
            models=(self.model,),
            prompts="--prompt",
            seed=self.seed,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            negative_prompt=self.negative_prompt,
            cam_scale=self.cam_scale,
            long_prompts=self.long_prompts,
            prompt_weights=self.prompt_weights,
            scheduler=self.scheduler,
            height=self.height,
            width=self.width,
            device=self.device,
            dtype=self.dtype,
            base=self.base,
            llm=self.llm,
            llm_dtype=self.llm_dtype,
            llm_quantize=self.llm_quantize,
            offload=self.offload,
        )
