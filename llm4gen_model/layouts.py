"""How models lie on disk or on the hub: folders that `train` and `convert` write, and the authors' own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from llm4gen_data.errors import UserError
from llm4gen_data.runs import command_of, read_json
from llm4gen_model.checkpoints import fill, load_cam, load_released_cam, read_tensors
from llm4gen_model.connectors import Connector
from llm4gen_model.family import BUNDLED
from llm4gen_model.llm import LAST_LAYER
from llm4gen_model.llms.known import RELEASED_LLM, RELEASED_SETTINGS

EXPORT_FORMAT = 1
MAX_TEXT_CHUNKS = 64  # no caption is so long; it bounds what a file can ask for
EXPORT_FILE = "llm4gen.json"
PIPELINE_FILE = "model_index.json"
RELEASED_FILE = "projector.pth"

# What the authors' layout leaves unsaid, from their inference script (github.com/YUHANG-Ma/LLM4GEN).
RELEASED_ABOUT = {
    "format": EXPORT_FORMAT,
    "base": "sd-legacy/stable-diffusion-v1-5",
    "train": "cam+unet",
    "llm": {
        "name": RELEASED_LLM,
        **{key: value for key, value in asdict(RELEASED_SETTINGS).items() if key not in ("offload", "quantize")},
        "layer": LAST_LAYER,
    },
}


def find_folder(name_or_path: str) -> Path | None:
    """The folder with a file that tells its layout: bundled, local, or the hub's copy; None for any other name.

    Of the hub's models in the authors' layout or ours, all that is needed is downloaded; of pipelines only the index.
    Raises UserError for a run directory, and for a path where nothing is.
    """
    bundled = BUNDLED / Path(name_or_path).name if Path(name_or_path).name == name_or_path else None
    for folder in (bundled, Path(name_or_path)):
        if folder is not None and folder.is_dir():
            if layout_file(folder) is None:
                _refuse_run(folder)
                return None
            return folder
    parent = Path(name_or_path).parent if "/" in name_or_path else None
    if parent is not None and command_of(parent) == "train":
        _refuse_run(parent)
    needed = {
        PIPELINE_FILE: [PIPELINE_FILE],
        EXPORT_FILE: [EXPORT_FILE, "cam/*", "unet/*", "lora/*"],
        RELEASED_FILE: [RELEASED_FILE, "unet/*"],
    }
    try:
        # asks once where hf_hub_download would try for half a minute before it says that there is no hub
        file = layout_file(Path(snapshot_download(name_or_path, allow_patterns=list(needed))))
        return None if file is None else Path(snapshot_download(name_or_path, allow_patterns=needed[file]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if parent is not None and (parent.is_dir() or isinstance(error, HFValidationError)):
            raise UserError(f"{name_or_path}: no such folder") from error
        return None  # no id, no such model, or no hub to be reached


def _refuse_run(folder: Path) -> None:
    """Raise UserError, with the way to the model, if `folder` is a run directory."""
    command = command_of(folder)
    if command == "train" and (folder / "model").is_dir():
        raise UserError(f"{folder} is a training run; its model is {folder / 'model'}")
    if command == "train":
        raise UserError(
            f"{folder} is a training run without {folder / 'model'} yet; its training has not finished, the same "
            "command again goes on"
        )
    if command is not None:
        raise UserError(f"{folder}: is a run of {command!r}, expected a model")


def layout_file(folder: Path) -> str | None:
    """The name of the file in `folder` that tells its layout."""
    return next((name for name in (EXPORT_FILE, PIPELINE_FILE, RELEASED_FILE) if (folder / name).is_file()), None)


def read_export(folder: Path) -> dict[str, Any]:
    """What a model in our layout or the authors' is made of: `base`, what was trained, `llm` (an identity or None).

    Raises UserError if a key is missing or the format is newer.
    """
    if layout_file(folder) == RELEASED_FILE:
        return dict(RELEASED_ABOUT)
    path = folder / EXPORT_FILE
    about = read_json(path)
    missing = [key for key in ("format", "base", "train", "llm") if not isinstance(about, dict) or key not in about]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; expected what `llm4gen-model train` exports")
    if about["format"] != EXPORT_FORMAT:
        raise UserError(f"{path}: format {about['format']!r}, this version reads format {EXPORT_FORMAT}")
    llm = about["llm"]
    if llm is not None and not (isinstance(llm, dict) and isinstance(llm.get("name"), str)):
        raise UserError(f"{path}: llm = {llm!r}: expected null or what a language model is told by")
    chunks = about.get("text_chunks", 1)
    if type(chunks) is not int or not 1 <= chunks <= MAX_TEXT_CHUNKS:
        raise UserError(f"{path}: text_chunks = {chunks!r}: expected a number from 1 to {MAX_TEXT_CHUNKS}")
    return dict(about)


def read_connector(folder: Path, dtype: torch.dtype = torch.float32) -> Connector:
    """The CAM, or another connector, of a model in our layout or the authors'. Raises UserError."""
    with _quiet_if_bundled(folder):
        if layout_file(folder) == RELEASED_FILE:
            return load_released_cam(folder / RELEASED_FILE, dtype=dtype)
        return load_cam(folder / "cam", dtype=dtype)


def read_unet(folder: Path, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel | None:
    """The UNet of a model in our layout or the authors'; None if the base's own is to be used.

    Raises UserError for the authors' layout without one: the released CAM belongs to the UNet it learned with.
    """
    if (folder / "unet").is_dir():
        return load_unet(folder / "unet", dtype)
    if layout_file(folder) == RELEASED_FILE:
        raise UserError(f"{folder}: holds {RELEASED_FILE} but no unet/: expected the UNet that was trained with it")
    return None


def load_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """A UNet from a folder of safetensors, or of a torch pickle that holds nothing but tensors.

    Warns of 16-bit weights that become float32. Raises UserError if it is missing or damaged, and for missing, other
    or misshapen weights.
    """
    config = read_json(folder / "config.json")
    with loading(str(folder / "config.json"), "the configuration of a UNet2DConditionModel"), init_empty_weights():
        unet = UNet2DConditionModel.from_config(config)
    shards = sorted(folder.glob("diffusion_pytorch_model-*-of-*.safetensors"))
    whole = folder / SAFETENSORS_WEIGHTS_NAME
    files = shards or [whole if whole.is_file() else folder / WEIGHTS_NAME]
    tensors = {key: tensor for file in files for key, tensor in read_tensors(file).items()}
    with _quiet_if_bundled(folder):
        fill(unet, tensors, str(files[0] if len(files) == 1 else folder), dtype)
    return unet


@contextlib.contextmanager
def _quiet_if_bundled(folder: Path) -> Iterator[None]:
    """No warning of 16-bit weights where the card says so already."""
    with warnings.catch_warnings():
        if folder.is_relative_to(BUNDLED):
            warnings.simplefilter("ignore", UserWarning)
        yield


@contextlib.contextmanager
def loading(what: str, expected: str) -> Iterator[None]:
    """Turn what a loader raises on missing, damaged or misfitting files into one line; no bars for small files."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what}: cannot be loaded, expected {expected}: {reason[:300]}") from error
