"""The original BLIP-VQA checkpoint on transformers' BLIP: sizes from the tensors, names translated, none skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BlipConfig, BlipForQuestionAnswering

from benchmarks.metrics.blip_model import NO_ID, YES_ID
from llm4gen_data.errors import UserError
from llm4gen_model.checkpoints import read_tensors

# transformers' names -> the original's, in this order
NAMES = (
    (r"^vision_model\.encoder\.layers\.", "visual_encoder.blocks."),
    (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
    (r"^vision_model\.post_layernorm", "visual_encoder.norm"),
    (r"\.self_attn\.projection\.", ".attn.proj."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
)
# What the original's head shares with other tensors may be left out.
TIED = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
BUFFER = "embeddings.position_ids"
VISION_EPS, TEXT_EPS = 1e-6, 1e-12
N_NAMED = 3


def blip_from_original(
    path_or_state_dict: str | Path | Mapping[str, Tensor], image_size: int, vision_heads: int, text_heads: int
) -> BlipForQuestionAnswering:
    """transformers' BLIP in float32 with the original's weights.

    `image_size` is in pixels. Raises UserError for a file that cannot be read safely and for tensors that are missing,
    of another shape, or of no such model, by name.
    """
    if isinstance(path_or_state_dict, Mapping):
        origin, tensors = "BLIP-VQA checkpoint", dict(path_or_state_dict)
    else:
        origin, tensors = str(path_or_state_dict), read_tensors(Path(path_or_state_dict))
    if isinstance(tensors.get("model"), Mapping):
        tensors = dict(tensors["model"])
    tensors = {name: tensor for name, tensor in tensors.items() if not str(name).endswith(BUFFER)}
    for name, same in TIED.items():
        if same in tensors:
            tensors.setdefault(name, tensors[same])
    config = _config(tensors, origin, image_size, vision_heads, text_heads)
    width = config.text_config.hidden_size
    with torch.device("meta"):
        blip = BlipForQuestionAnswering(config)
        for layer in blip.text_decoder.bert.encoder.layer:
            # it looks at questions; transformers gives it the width of images, which is the same in ViT-B
            attention = layer.crossattention.self
            attention.key, attention.value = (torch.nn.Linear(width, width) for _ in "kv")
    expected = {_original_name(name): name for name in blip.state_dict()}
    shapes = {original: blip.state_dict()[name].shape for original, name in expected.items()}
    _refuse_misfits(tensors, shapes, origin)
    loaded = {expected[name]: tensor.to(torch.float32) for name, tensor in tensors.items()}
    blip.load_state_dict(loaded, assign=True)
    for embeddings in (blip.text_encoder.embeddings, blip.text_decoder.bert.embeddings):
        embeddings.position_ids = torch.arange(config.text_config.max_position_embeddings)[None]
    return blip.eval()


def _config(
    tensors: Mapping[str, Tensor], origin: str, image_size: int, vision_heads: int, text_heads: int
) -> BlipConfig:
    patch, positions = (
        _sizes(tensors, f"visual_encoder.{name}", n, origin)
        for name, n in (("patch_embed.proj.weight", 4), ("pos_embed", 3))
    )
    words = _sizes(tensors, "text_decoder.bert.embeddings.word_embeddings.weight", 2, origin)
    text_positions = _sizes(tensors, "text_encoder.embeddings.position_embeddings.weight", 2, origin)
    vision_inner = _sizes(tensors, "visual_encoder.blocks.0.mlp.fc1.weight", 2, origin)
    text_inner = _sizes(tensors, "text_encoder.encoder.layer.0.intermediate.dense.weight", 2, origin)
    if 0 in patch:
        raise UserError(f"{origin}: visual_encoder.patch_embed.proj.weight: shape {list(patch)} holds nothing")
    needed = (image_size // patch[-1]) ** 2 + 1
    if positions[1] != needed:
        raise UserError(
            f"{origin}: visual_encoder.pos_embed has {positions[1]} positions; image_size={image_size} with patches "
            f"of {patch[-1]} px needs {needed}"
        )
    if words[0] < max(YES_ID, NO_ID) + 3:
        raise UserError(f"{origin}: a vocabulary of {words[0]}; expected bert-base-uncased's with [DEC] and [ENC]")
    for option, heads, width in (("vision_heads", vision_heads, patch[0]), ("text_heads", text_heads, words[1])):
        if heads < 1 or width % heads:
            raise UserError(f"{origin}: {option}={heads} does not divide the width {width}")
    vision = {
        "hidden_size": patch[0],
        "intermediate_size": vision_inner[0],
        "num_hidden_layers": _depth(tensors, r"visual_encoder\.blocks\.(\d+)\."),
        "num_attention_heads": vision_heads,
        "image_size": image_size,
        "patch_size": patch[-1],
        "layer_norm_eps": VISION_EPS,
        "hidden_act": "gelu",
    }
    text = {
        "vocab_size": words[0],
        "hidden_size": words[1],
        "encoder_hidden_size": patch[0],
        "intermediate_size": text_inner[0],
        "num_hidden_layers": _depth(tensors, r"text_encoder\.encoder\.layer\.(\d+)\."),
        "num_attention_heads": text_heads,
        "max_position_embeddings": text_positions[0],
        "layer_norm_eps": TEXT_EPS,
        "hidden_act": "gelu",
        "is_decoder": True,
        "bos_token_id": words[0] - 2,
    }
    return BlipConfig(vision_config=vision, text_config=text)


def _sizes(tensors: Mapping[str, Any], name: str, n_dimensions: int, origin: str) -> torch.Size:
    if name not in tensors:
        raise UserError(f"{origin}: lacks {name}; expected the original BLIP-VQA checkpoint")
    if getattr(tensors[name], "ndim", None) != n_dimensions:
        raise UserError(f"{origin}: {name}: expected a tensor of {n_dimensions} dimensions")
    shape: torch.Size = tensors[name].shape
    return shape


def _depth(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many layers there are; a gap, or a number far off, is told as tensors that lack or are too many."""
    return len({found[1] for name in tensors if (found := re.match(pattern, str(name)))})


def _original_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _refuse_misfits(tensors: Mapping[str, Any], shapes: Mapping[str, torch.Size], origin: str) -> None:
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise UserError(f"{origin}: lacks {len(missing)} of {len(shapes)} tensors: {_some(missing)}")
    other = [str(name) for name in tensors if name not in shapes]
    if other:
        raise UserError(f"{origin}: holds {len(other)} tensors that BLIP-VQA does not have: {_some(other)}")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise UserError(f"{origin}: {name}: expected a tensor of floats")
        if tensor.shape != shape:
            raise UserError(f"{origin}: {name}: shape {list(tensor.shape)}, expected {list(shape)}")
        if not tensor.isfinite().all():
            raise UserError(f"{origin}: {name}: holds values that are not finite numbers")


def _some(names: list[str]) -> str:
    return ", ".join(names[:N_NAMED]) + (", ..." if len(names) > N_NAMED else "")
