"""Captioners known by a short name, each with the settings it captions best with: the lowest layer of a run's config.

Chat formats are written out, image first, so that a run does not change when a hub repository's template does. A
revision is given where its 40 digits are certain; elsewhere the run resolves and records the commit it met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Qwen2-VL's text begins with a fixed system turn, Qwen3-VL's does not.
QWEN2_CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"
)
QWEN3_CHAT = (
    "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"
)
INTERNVL_CHAT = "<|im_start|>user\n<IMG_CONTEXT>\n{instruction}<|im_end|>\n<|im_start|>assistant\n"
LLAVA_CHAT = "USER: <image>\n{instruction} ASSISTANT:"
SMOLVLM_CHAT = "<|im_start|>User:<image>{instruction}<end_of_utterance>\nAssistant:"

# One image token of Qwen2.5-VL is 28 x 28 pixels, one of Qwen3-VL 32 x 32: both then see at most 1,024 tokens.
QWEN2_MAX_PIXELS = 1024 * 28 * 28
QWEN3_MAX_PIXELS = 1024 * 32 * 32

# A dense caption is 60 to 130 tokens; one that is still going on at 256 is a loop.
GREEDY = {"max_tokens": 256, "temperature": 0.0}


@dataclass(frozen=True, slots=True)
class Preset:
    """Values of RecaptionConfig for one model; `sampling` and `engine` name only what differs from the defaults."""

    model: str
    max_pixels: int
    chat_format: str | None
    revision: str | None = None
    instructions: tuple[str, ...] = ("paper",)
    sampling: Mapping[str, Any] = field(default_factory=lambda: GREEDY)
    engine: Mapping[str, Any] = field(default_factory=dict)


def _qwen(model: str, chat_format: str, max_pixels: int) -> Preset:
    # The processor's own limit is 12 million pixels, for which vLLM would reserve memory.
    engine = {
        "max_model_len": 2048,
        "max_num_seqs": 256,
        "vllm": {"mm_processor_kwargs": {"max_pixels": max_pixels}},
    }
    return Preset(model, max_pixels, chat_format, engine=engine)


PRESETS = {
    # So small a model is quickest with many at once.
    "vlm-mini": Preset("vlm-mini", 64 * 64, SMOLVLM_CHAT, sampling={"max_tokens": 160}, engine={"max_num_seqs": 512}),
    # The paper's captioner sees the middle square of 336 pixels; without grouped-query attention a request takes
    # 0.4 GB of cache, so that more than 128 at once only wait.
    "llava-1.5-7b": Preset(
        "llava-hf/llava-1.5-7b-hf", 2 * 336 * 336, LLAVA_CHAT, engine={"max_model_len": 2048, "max_num_seqs": 128}
    ),
    "qwen2.5-vl-3b": _qwen("Qwen/Qwen2.5-VL-3B-Instruct", QWEN2_CHAT, QWEN2_MAX_PIXELS),
    "qwen2.5-vl-7b": _qwen("Qwen/Qwen2.5-VL-7B-Instruct", QWEN2_CHAT, QWEN2_MAX_PIXELS),
    "qwen3-vl-4b": _qwen("Qwen/Qwen3-VL-4B-Instruct", QWEN3_CHAT, QWEN3_MAX_PIXELS),
    "qwen3-vl-8b": _qwen("Qwen/Qwen3-VL-8B-Instruct", QWEN3_CHAT, QWEN3_MAX_PIXELS),
    # Tiles of 448 x 448, 256 tokens each, and a thumbnail: at most 12 tiles and 3,328 tokens.
    "internvl3-8b": Preset(
        "OpenGVLab/InternVL3-8B-hf",
        1024 * 1024,
        INTERNVL_CHAT,
        engine={"max_model_len": 4096, "max_num_seqs": 256},
    ),
    # Tiles of 384 pixels, 81 tokens each, of an image scaled to 1,536.
    "smolvlm2-2.2b": Preset(
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        1024 * 1024,
        SMOLVLM_CHAT,
        engine={"max_model_len": 4096, "max_num_seqs": 256},
    ),
}


def preset_values(model: str) -> dict[str, Any]:
    """A preset as nested plain values of RecaptionConfig, `model` being its hub id; {} for a name that has none."""
    preset = PRESETS.get(model)
    if preset is None:
        return {}
    values = {
        "model": preset.model,
        "revision": preset.revision,
        "instructions": list(preset.instructions),
        "chat_format": preset.chat_format,
        "max_pixels": preset.max_pixels,
        "sampling": dict(preset.sampling),
        "engine": dict(preset.engine),
    }
    return {name: value for name, value in values.items() if value not in (None, {})}
