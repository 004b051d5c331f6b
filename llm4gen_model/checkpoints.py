"""Reading CAM weights: the authors' `projector.pth` and our own folders, never running what a file brings along."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.connectors import Connector, connector_from_config

LLM_PROJECTION = "CrossFusionModule.0.llm_proj.weight"


def load_released_cam(
    state_dict_or_path: Mapping[str, torch.Tensor] | str | Path,
    *,
    num_heads: int = 8,
    dtype: torch.dtype = torch.float32,
) -> CrossAdapterModule:
    """The CAM of a released state dict, or of a `.pth` or `.safetensors` file that holds one, in `dtype`.

    Widths are read off the tensors, heads are not in them. Warns of 16-bit weights. Raises UserError for a file
    that is missing, damaged or holds more than tensors, for other or missing keys, other shapes, and values that
    are not finite.
    """
    if isinstance(state_dict_or_path, str | Path):
        origin = str(state_dict_or_path)
        tensors = read_tensors(Path(state_dict_or_path))
    else:
        origin, tensors = "CAM state dict", dict(state_dict_or_path)
    projection = tensors.get(LLM_PROJECTION)
    if not isinstance(projection, torch.Tensor) or projection.ndim != 2:
        found = ", ".join(list(map(str, tensors))[:3]) or "nothing"
        raise UserError(f"{origin}: not a CAM: expected a matrix {LLM_PROJECTION}, found {found}")
    text_dim, llm_dim = projection.shape
    cam = CrossAdapterModule(text_dim=text_dim, llm_dim=llm_dim, num_heads=num_heads)
    fill(cam, tensors, origin, dtype)
    return cam.eval()  # type: ignore[no-any-return]


def load_cam(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Connector:
    """The CAM, or another connector, that `save_pretrained` wrote to `folder`, in `dtype`.

    Warns of 16-bit weights. Raises UserError for a folder that holds none, and where config and weights disagree.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no CAM here: expected config.json and {SAFETENSORS_WEIGHTS_NAME}")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise UserError(f"{folder / 'config.json'}: expected the config of a connector")
    connector: Connector = connector_from_config(config, str(folder / "config.json"))
    weights = folder / SAFETENSORS_WEIGHTS_NAME
    fill(connector, read_tensors(weights), str(weights), dtype)
    return connector


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a `.safetensors` file or of a torch pickle that holds nothing but plain data.

    Raises UserError for a file that is missing or damaged, or would have to run code to be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Any] = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path}: not a safetensors file: {error}") from error
        return tensors
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: refused: a pickle that holds code or is damaged; expected tensors only") from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: cannot be read as a torch checkpoint: {reason}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a state dict, found {type(content).__name__}")
    return content


def fill(module: Any, tensors: Mapping[str, Any], origin: str, dtype: torch.dtype = torch.float32) -> None:
    """Make copies of a whole state dict, in `dtype`, the weights of a module, which is set to inference.

    Warns of 16-bit weights that become float32. Raises UserError, led by `origin`, for missing or other keys, other
    shapes, and values that are not finite.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in tensors]
    if missing:
        raise UserError(f"{origin}: lacks {len(missing)} of {len(expected)} tensors: {_some(missing)}")
    other = [str(key) for key in tensors if key not in expected]
    if other:
        raise UserError(f"{origin}: holds {len(other)} tensors that no {type(module).__name__} has: {_some(other)}")
    for key, parameter in expected.items():
        tensor = tensors[key]
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise UserError(f"{origin}: {key}: expected a tensor of floats")
        if tensor.shape != parameter.shape:
            raise UserError(f"{origin}: {key}: shape {list(tensor.shape)}, expected {list(parameter.shape)}")
        if not tensor.isfinite().all():
            raise UserError(f"{origin}: {key}: holds values that are not finite numbers")
    narrow = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.itemsize < 4}
    if narrow and dtype == torch.float32:
        warnings.warn(f"{origin}: written in {', '.join(sorted(narrow))}, loaded as float32", stacklevel=2)
    module.load_state_dict({key: tensor.to(dtype, copy=True) for key, tensor in tensors.items()}, assign=True)
    module.eval()


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
