"""RankGen (EMNLP 2022): a T5 v1.1 encoder beside a projection head; the released LLM4GEN reads the encoder alone."""

from __future__ import annotations

from pathlib import Path

import torch

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_model.checkpoints import read_tensors

ENCODER = "t5_encoder."
HEAD = "projection.weight"
# RankGen brings no tokenizer; T5 v1.1 of all sizes have the same one
TOKENIZER = "google/t5-v1_1-xl"


def is_rankgen(folder: Path) -> bool:
    """Whether a model folder holds RankGen; its hub repositories name a class of their own, which is not run."""
    try:
        config = read_json(folder / "config.json")
    except UserError:  # transformers will say what is wrong with it
        return False
    return isinstance(config, dict) and "T5EncoderWithProjection" in (config.get("architectures") or [])


def encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the T5 encoder by transformers' names, without the projection head.

    Raises UserError for a file that is missing, holds more than tensors, or holds tensors that RankGen has not.
    """
    safe = folder / "model.safetensors"
    file = safe if safe.is_file() else folder / "pytorch_model.bin"
    tensors = read_tensors(file)
    strange = [str(key) for key in tensors if not str(key).startswith(ENCODER) and key != HEAD]
    if strange:
        raise UserError(f"{file}: holds {len(strange)} tensors that RankGen has not, {strange[0]} among them")
    return {key.removeprefix(ENCODER): tensor for key, tensor in tensors.items() if key != HEAD}
