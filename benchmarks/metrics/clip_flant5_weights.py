"""The released weights of CLIP-FlanT5 on transformers' T5 and the two layers between CLIP and it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from llm4gen_data.errors import UserError
from llm4gen_model.checkpoints import fill, read_tensors

PROJECTOR = "mm_projector."
# CLIP's own weights are frozen and come from their own release.
VISION_TOWER = "vision_tower."
# T5 keeps one table of words under three names.
WORDS = "shared.weight"
SHARED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def load_weights(folder: Path, vision_width: int, dtype: str, device: str) -> tuple[Any, torch.nn.Sequential]:
    """T5 and the projector [.., vision width] -> [.., width of T5], ready to infer.

    Raises UserError for files that cannot be read safely and for tensors that are missing, misshapen or unknown.
    """
    settings = read_settings(folder)
    kind = settings.get("mm_projector_type", "mlp2x_gelu")
    if kind != "mlp2x_gelu":
        raise UserError(f"clip_flant5: {folder / 'config.json'}: mm_projector_type {kind!r}, expected 'mlp2x_gelu'")
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    if not files:
        raise UserError(f"clip_flant5: {folder}: holds no *.safetensors and no pytorch_model*.bin")
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    projector_tensors, t5_tensors = _parted(tensors)
    known = T5Config().to_dict().keys() - {"architectures", "model_type", "dtype", "torch_dtype"}
    try:
        config = T5Config(**{name: value for name, value in settings.items() if name in known})
    except (ValueError, TypeError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"clip_flant5: {folder / 'config.json'}: no settings of a T5: {told}") from error
    # transformers 5 calls every T5 tied; a Flan-T5 has a head of its own, and does not scale what goes into it
    is_tied = settings.get("tie_word_embeddings", True)
    config.scale_decoder_outputs = settings.get("scale_decoder_outputs", is_tied)
    with torch.device("meta"):
        t5 = T5ForConditionalGeneration(config)
        projector = torch.nn.Sequential(
            torch.nn.Linear(vision_width, config.d_model),
            torch.nn.GELU(),
            torch.nn.Linear(config.d_model, config.d_model),
        )
    if is_tied and WORDS in t5_tensors:
        t5_tensors.setdefault("lm_head.weight", t5_tensors[WORDS])
    for name in SHARED:
        if WORDS in t5_tensors:
            t5_tensors.setdefault(name, t5_tensors[WORDS])
    fill(t5, t5_tensors, str(folder), getattr(torch, dtype))
    fill(projector, projector_tensors, f"{folder}: {PROJECTOR}*", getattr(torch, dtype))
    for stack in (t5.encoder, t5.decoder):
        stack.embed_tokens = t5.shared  # one table again, not three copies
    try:
        return t5.to(device), projector.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"clip_flant5: device {device!r} cannot be used: {error}") from error


def _parted(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The projector's tensors and T5's, wherever in the model the former hung."""
    projector, t5 = {}, {}
    for name, tensor in tensors.items():
        if PROJECTOR in name:
            projector[name.partition(PROJECTOR)[2]] = tensor
        elif VISION_TOWER not in name:
            t5[name] = tensor
    return projector, t5


def read_settings(folder: Path) -> dict[str, Any]:
    """The model's config.json. Raises UserError for a file that is none of a T5."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"clip_flant5: {path}: cannot be read as JSON: {error}") from error
    if not isinstance(values, dict) or "d_model" not in values:
        raise UserError(f"clip_flant5: {path}: expected the settings of a T5")
    return values
