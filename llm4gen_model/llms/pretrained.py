"""Language models from a folder or the hub: which kind one is, is read off its config."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file
from llm4gen_model.llms.last_hidden_states import LastHiddenStates

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "*.model")


def load_pretrained(
    name: str,
    *,
    max_tokens: int,
    dtype: str,
    device: str,
    folder: Path | None = None,
    files: dict[str, str] | None = None,
) -> LastHiddenStates:
    """The model in `folder` (None: the folder or hub id `name`), called `name`.

    BERT-like and T5-like encoders keep their own special tokens; a decoder gets its start token in front (an empty
    text must become a token, and many decoders lean on the first one) and its end token behind, the only one
    that sees the whole text. `files` are the sha256 for the identity (None: of the weights and the tokenizer).
    Raises UserError if the model cannot be had, is no language model, or lacks weights.
    """
    folder = folder or model_folder(name)
    model, tokenizer = _load(name, folder, dtype)
    if _is_decoder(model.config.model_type):
        if tokenizer.eos_token_id is None:
            raise UserError(f"language model {name!r}: its tokenizer names no end token")
        end_ids = [tokenizer.eos_token_id]
        start_ids = end_ids if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    else:
        # what the tokenizer puts around nothing: [CLS] [SEP] of BERT, </s> of T5
        special = tokenizer("").input_ids
        end_ids = [token for token in special if token in (tokenizer.eos_token_id, tokenizer.sep_token_id)]
        start_ids = [token for token in special if token not in end_ids]
    return LastHiddenStates(
        name,
        model.to(device).eval().requires_grad_(False),
        tokenizer,
        start_ids=start_ids,
        end_ids=end_ids,
        max_tokens=max_tokens,
        files=files or file_hashes(folder),
    )


def model_folder(name: str) -> Path:
    """The local folder of a model: `name` itself, or the hub's copy of it, downloaded once. Raises UserError."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    small = ["*.json", "*.txt", "*.model"]
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*small, "*.safetensors"], ignore_patterns=["*/*"]))
        if not any(folder.glob("*.safetensors")):
            snapshot_download(name, allow_patterns=[*small, "pytorch_model*.bin"], ignore_patterns=["*/*"])
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"language model {name!r}: no such folder, and not to be had from the hub: {reason}"
        ) from error
    return folder


def package_folder(package: str) -> Path | None:
    """The folder of an installed package that carries weights; its own code is not run. None if not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def file_hashes(folder: Path) -> dict[str, str]:
    """The sha256 of the weight and tokenizer files in `folder`, by file name."""
    paths = [path for pattern in (*WEIGHT_FILES, *TOKENIZER_FILES) for path in sorted(folder.glob(pattern))]
    return {path.name: sha256_file(path) for path in paths}


def _load(name: str, folder: Path, dtype: str) -> tuple[Any, Any]:
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind = _auto_class(config.model_type)
        if kind is None:
            raise UserError(
                f"language model {name!r}: model type {config.model_type!r} is neither a decoder nor a text encoder"
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = kind.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"language model {name!r}: transformers cannot load {folder}: {reason}") from error
    # A pooler is not used here, and masked language models come without one.
    missing = sorted(key for key in loading["missing_keys"] if "pooler" not in key)
    if missing:
        raise UserError(f"language model {name!r}: {folder} lacks {len(missing)} weights, {missing[0]} among them")
    return model, tokenizer


def _auto_class(model_type: str) -> Any:
    if model_type in modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES:
        return transformers.AutoModelForTextEncoding
    if _is_decoder(model_type) or model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return transformers.AutoModel
    return None


def _is_decoder(model_type: str) -> bool:
    encoders = (
        modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.keys()
        | modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.keys()
    )
    return model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and model_type not in encoders
