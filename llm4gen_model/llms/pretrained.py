"""Language models from a folder or the hub: which kind one is, is read off its config."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file
from llm4gen_model.llm import LANGUAGE_MODELS, LLMSettings
from llm4gen_model.llms.known import KNOWN_MODELS
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.llms.rankgen import TOKENIZER, encoder_weights, is_rankgen

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "*.model")


def load_pretrained(
    name: str,
    settings: LLMSettings,
    device: str,
    *,
    folder: Path | None = None,
    files: dict[str, str] | None = None,
) -> LastHiddenStates:
    """The model in `folder` (None: the known model, folder or hub id `name`), called `name`.

    `files` are the sha256 for the identity (None: of the weights and the tokenizer). Raises UserError if the model
    cannot be had, is no language model, or lacks weights.
    """
    known = KNOWN_MODELS.get(name)
    folder = folder or model_folder(known.hub_id if known is not None else name)
    files = files or file_hashes(folder)
    tokenizer_folder = folder
    if is_rankgen(folder) and not file_hashes(folder, TOKENIZER_FILES):
        tokenizer_folder = model_folder(TOKENIZER)
        files |= file_hashes(tokenizer_folder, TOKENIZER_FILES)
    model, tokenizer = _load(name, folder, tokenizer_folder, settings, device)
    return language_model_of(name, model, tokenizer, settings, files=files, device=device)


def language_model_of(
    name: str, model: Any, tokenizer: Any, settings: LLMSettings, *, files: dict[str, str], device: str | None = None
) -> LastHiddenStates:
    """A transformers model without a head that is loaded already, and its tokenizer, as a language model.

    BERT-like and T5-like encoders keep their own special tokens; a decoder gets its start token in front (an empty
    text must become a token, and many decoders lean on the first one) and its end token behind, the only one
    that sees the whole text. `files` are the sha256 for the identity. Raises UserError if the tokenizer names no
    end token that a decoder could be given.
    """
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
        model.eval().requires_grad_(False),
        tokenizer,
        start_ids=start_ids,
        end_ids=end_ids,
        settings=settings,
        files=files,
        device=device,
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
            f"language model {name!r}: no such folder, and not to be had from the hub: {reason}{_meant(name)}"
        ) from error
    return folder


def _meant(name: str) -> str:
    """What a name without an owner may have been meant to be."""
    if "/" in name:
        return ""
    short = sorted({*LANGUAGE_MODELS, *KNOWN_MODELS})
    close = get_close_matches(name, short, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; short names are {', '.join(short)}"


def package_folder(package: str) -> Path | None:
    """The folder of an installed package that carries weights; its own code is not run. None if not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def file_hashes(folder: Path, patterns: Sequence[str] = (*WEIGHT_FILES, *TOKENIZER_FILES)) -> dict[str, str]:
    """The sha256 of the files in `folder` that match, by default of weights and tokenizer, by file name."""
    return {path.name: sha256_file(path) for pattern in patterns for path in sorted(folder.glob(pattern))}


def _load(name: str, folder: Path, tokenizer_folder: Path, settings: LLMSettings, device: str) -> tuple[Any, Any]:
    weights = encoder_weights(folder) if is_rankgen(folder) else None
    options: dict[str, Any] = {}
    if settings.quantize is not None:
        options |= {"quantization_config": _quantization(name, settings), "device_map": {"": device}}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind = _auto_class(config.model_type)
        if kind is None:
            raise UserError(
                f"language model {name!r}: model type {config.model_type!r} is neither a decoder nor a text encoder"
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder, trust_remote_code=False)
        options |= {"config": config, "dtype": getattr(torch, settings.dtype), "output_loading_info": True}
        options["ignore_mismatched_sizes"] = True  # they are refused below, by name
        if weights is not None:
            model, loading = transformers.T5EncoderModel.from_pretrained(None, state_dict=weights, **options)
        else:
            model, loading = kind.from_pretrained(folder, trust_remote_code=False, **options)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"language model {name!r}: {folder}: refused: a pickle that holds code or is damaged; "
            "expected tensors only"
        ) from error
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"language model {name!r}: transformers cannot load {folder}: {reason}") from error
    # A pooler is not used here, and masked language models come without one.
    missing = sorted(key for key in loading["missing_keys"] if "pooler" not in key)
    if missing:
        raise UserError(f"language model {name!r}: {folder} lacks {len(missing)} weights, {missing[0]} among them")
    misshapen = sorted(str(key) for key, *_ in loading["mismatched_keys"])
    if misshapen:
        raise UserError(
            f"language model {name!r}: {folder}: {len(misshapen)} weights of another shape than config.json says, "
            f"{misshapen[0]} among them"
        )
    if settings.quantize is None and not settings.offload:
        model.to(device)
    return model, tokenizer


def _quantization(name: str, settings: LLMSettings) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            f"language model {name!r}: {settings.quantize} weights need the package bitsandbytes: "
            "pip install bitsandbytes"
        )
    if settings.quantize == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, settings.dtype)
    )


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
