"""ImageReward (arXiv 2304.05977): BLIP-Large reads picture and prompt, a linear head tells what people prefer.

It reads 35 tokens of the prompt: on dense prompts its value says nothing of most of the text, and `truncated` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import sha256_file

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WEIGHTS_NAME = "ImageReward.pt"
WEIGHTS_URL = "https://huggingface.co/THUDM/ImageReward/resolve/main/ImageReward.pt"
MAX_TOKENS = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072  # of the head's values in the authors' data
VISION_EPS, TEXT_EPS = 1e-6, 1e-12
TEXT_PREFIX, HEAD_PREFIX = "blip.text_encoder.", "mlp."
BUFFER = "embeddings.position_ids"


class ImageReward:
    """(head - mean) / std for the state of the first text token, which has seen the picture.

    `weights` is the original's file, `vocabulary` a folder or hub id with BERT's tokenizer. Sizes are read from the
    tensors but for the number of heads. Raises UserError if the file is missing, naming where it is to be had.
    """

    headline = "image_reward"
    unit = "standard deviations"
    digits = 3

    def __init__(
        self,
        weights: Path | str | None,
        vocabulary: str = "bert-base-uncased",
        vision_heads: int = 16,
        text_heads: int = 12,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if weights is None or not Path(weights).is_file():
            raise UserError(
                f"image_reward: the weights {weights or WEIGHTS_NAME} are missing: fetch {WEIGHTS_URL} (its page "
                "shows the sha256, and so does every score) and give --set image_reward.weights=FILE"
            )
        self.weights, self.vocabulary, self.dtype, self.device = Path(weights), vocabulary, dtype, device
        self.heads = (vision_heads, text_heads)

    def identity(self) -> dict[str, Any]:
        """The weights by sha256 and what is read of the prompt."""
        return {
            "metric": "image_reward",
            "version": 1,
            "weights": self._sha256,
            "vocabulary": Path(self.vocabulary).name,
            "truncation": f"{MAX_TOKENS} tokens",
            "preprocessing": "shortest side by Pillow bicubic, centre crop, OpenAI's mean and std",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text can be read, the first tokens of it."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, of the kind `image_reward`."""
        import torch

        texts = [prompt.prompt for prompt in prompts]
        counts = [len(ids) for ids in self._tokenizer(texts, verbose=False)["input_ids"]]
        with torch.inference_mode():
            states = self._states(self._pixels(images), texts)
        weight, bias = self._model[2]
        values = (states.float().cpu().double().numpy() @ weight + bias - MEAN) / STD
        return [
            [Score(self.headline, float(value), _reason(n_tokens), truncated=n_tokens > MAX_TOKENS)]
            for value, n_tokens in zip(values, counts, strict=True)
        ]

    def _states(self, pixels: Tensor, texts: Sequence[str]) -> Tensor:
        """Pictures [B, 3, H, W] and their texts -> states of the first text token [B, D]."""
        vision, text, _ = self._model
        seen = vision(pixel_values=pixels).last_hidden_state
        batch = self._tokenizer(
            list(texts), padding="longest", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.device)
        states: Tensor = text(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            encoder_hidden_states=seen,
            encoder_attention_mask=seen.new_ones(seen.shape[:2]),
        ).last_hidden_state
        return states[:, 0]

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        import torch
        from transformers import CLIPImageProcessorPil

        side = self._model[0].config.image_size
        processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        pixels: Tensor = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self.device, getattr(torch, self.dtype))

    @cached_property
    def _sha256(self) -> str:
        return sha256_file(self.weights)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.vocabulary)
        except (OSError, ValueError) as error:
            raise UserError(
                f"image_reward: the BERT tokenizer {self.vocabulary!r} cannot be loaded ({type(error).__name__}); "
                "give a folder that holds bert-base-uncased's: --set image_reward.vocabulary=DIR"
            ) from error

    @cached_property
    def _model(self) -> tuple[Any, Any, tuple[np.ndarray, float]]:
        import torch

        from llm4gen_model.checkpoints import read_tensors

        vision, text, head = load_image_reward(read_tensors(self.weights), str(self.weights), *self.heads)
        try:
            parts = [part.to(self.device, getattr(torch, self.dtype)).eval() for part in (vision, text)]
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"image_reward: device {self.device!r} cannot be used: {error}") from error
        return parts[0], parts[1], head


def load_image_reward(
    tensors: Mapping[str, Any], origin: str, vision_heads: int, text_heads: int
) -> tuple[Any, Any, tuple[np.ndarray, float]]:
    """transformers' BLIP towers in float32 and the head as one layer, from the original's state dict.

    Raises UserError, led by `origin`, for tensors that are missing, of another shape, or of no such model.
    """
    from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

    from benchmarks.metrics.aesthetic import fold
    from benchmarks.metrics.blip_checkpoint import NAMES
    from llm4gen_model.checkpoints import fill

    tensors = {name: tensor for name, tensor in tensors.items() if not str(name).endswith(BUFFER)}
    patch, n_positions, words, text_positions, vision_inner, text_inner = (
        _shape(tensors, name, origin)
        for name in (
            "blip.visual_encoder.patch_embed.proj.weight",
            "blip.visual_encoder.pos_embed",
            f"{TEXT_PREFIX}embeddings.word_embeddings.weight",
            f"{TEXT_PREFIX}embeddings.position_embeddings.weight",
            "blip.visual_encoder.blocks.0.mlp.fc1.weight",
            f"{TEXT_PREFIX}encoder.layer.0.intermediate.dense.weight",
        )
    )
    vision = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=patch[0],
            intermediate_size=vision_inner[0],
            num_hidden_layers=_depth(tensors, r"blip\.visual_encoder\.blocks\.(\d+)\."),
            num_attention_heads=vision_heads,
            image_size=patch[-1] * round((n_positions[1] - 1) ** 0.5),
            patch_size=patch[-1],
            layer_norm_eps=VISION_EPS,
            hidden_act="gelu",
        )
    )
    text = BlipTextModel(
        BlipTextConfig(
            vocab_size=words[0],
            hidden_size=words[1],
            encoder_hidden_size=patch[0],
            intermediate_size=text_inner[0],
            num_hidden_layers=_depth(tensors, r"blip\.text_encoder\.encoder\.layer\.(\d+)\."),
            num_attention_heads=text_heads,
            max_position_embeddings=text_positions[0],
            layer_norm_eps=TEXT_EPS,
            hidden_act="gelu",
            is_decoder=True,  # which gives it cross-attention
        ),
        add_pooling_layer=False,
    )
    named = {}
    for name in vision.state_dict():
        original = f"vision_model.{name}"
        for pattern, replacement in NAMES:
            original = re.sub(pattern, replacement, original)
        named[f"blip.{original}"] = name
    own = {named.get(name, name): tensor for name, tensor in tensors.items() if "blip.visual_encoder." in name}
    fill(vision, own, origin)
    fill(text, _part(tensors, TEXT_PREFIX), origin)
    return vision, text, fold(_part(tensors, HEAD_PREFIX), origin)


def _part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _shape(tensors: Mapping[str, Any], name: str, origin: str) -> Sequence[int]:
    if name not in tensors:
        raise UserError(f"{origin}: lacks {name}; expected the original {WEIGHTS_NAME}")
    shape: Sequence[int] = tensors[name].shape
    return shape


def _depth(tensors: Mapping[str, Any], pattern: str) -> int:
    return 1 + max((int(found[1]) for name in tensors if (found := re.match(pattern, name))), default=-1)


def _reason(n_tokens: int) -> str:
    return f"ImageReward; {min(n_tokens, MAX_TOKENS)} of the prompt's {n_tokens} tokens read"
