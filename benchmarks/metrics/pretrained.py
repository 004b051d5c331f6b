"""Models of the transformers library as the metrics load them: from a folder or the hub, safetensors, all weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import model_fingerprint, model_path
from llm4gen_data.registry import require_working_torchvision

N_ERROR_CHARS = 300
WEIGHTS = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")


def model_folder(needed_by: str, model: str, revision: str | None, weights_option: str) -> Path:
    """The folder of a bundled or local model, or the hub's snapshot of its safetensors and settings.

    Raises UserError if there is none, with the option (`weights_option`) that takes a folder.
    """
    folder = Path(model_path(model))
    if folder.is_dir():
        return folder
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(WEIGHTS)))
    except HFValidationError as error:
        raise UserError(
            f"{needed_by}: {model}: no such folder, and no hub id; expected weights: --set {weights_option}=DIR"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise UserError(
            f"{needed_by}: the weights model.safetensors of https://huggingface.co/{model} (which lists their sha256) "
            f"cannot be fetched ({type(error).__name__}); or give a folder with them: --set {weights_option}=DIR"
        ) from error


def weights_identity(model: str, revision: str | None, folder: Path) -> dict[str, Any]:
    """Name, revision and the sha256 over the files; of a folder its name, wherever it lies."""
    named = folder.name if Path(model).is_dir() else model
    return {"model": named, "revision": revision, "weights": model_fingerprint(str(folder), None)["sha256"]}


def model_type(needed_by: str, folder: Path) -> str:
    """What config.json says the model is. Raises UserError if it cannot be read."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{needed_by}: {folder / 'config.json'}: cannot be read as JSON: {error}") from error
    return str(values.get("model_type")) if isinstance(values, dict) else ""


def load_model(needed_by: str, auto_class: str, folder: Path, dtype: str, device: str) -> Any:
    """The model, ready to infer. Raises UserError for a folder without all of its weights, or an unusable device."""
    require_working_torchvision()
    import torch
    import transformers
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, loaded = getattr(transformers, auto_class).from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, local_files_only=True
        )
    except (ImportError, OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        told = " ".join(str(error).split())[:N_ERROR_CHARS]
        raise UserError(f"{needed_by}: {folder}: not a {auto_class} with safetensors weights: {told}") from error
    if loaded["missing_keys"]:  # transformers would go on with random ones
        first = min(loaded["missing_keys"])
        raise UserError(f"{needed_by}: {folder}: {len(loaded['missing_keys'])} weights are not in the file ({first})")
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"{needed_by}: device {device!r} cannot be used: {error}") from error


def load_image_processor(needed_by: str, folder: Path) -> Any:
    """The preprocessing that came with the model, by Pillow on any machine: tensors are resized to other pixels."""
    require_working_torchvision()
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (ImportError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{needed_by}: {folder}: no image preprocessing: {' '.join(str(error).split())}") from error
