"""The bundled mini family: which models the package carries and what each of them is."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from llm4gen_data.errors import UserError

BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True, slots=True)
class BundledModel:
    """One model folder; parameters are counted from the safetensors headers, without reading a weight."""

    name: str
    architecture: str
    n_parameters: int
    n_bytes: int
    path: Path


def bundled_models() -> list[BundledModel]:
    """Every model the package carries, by name. Raises UserError for a damaged weight file."""
    folders = sorted(path for path in BUNDLED.iterdir() if path.is_dir())
    return [_describe(folder) for folder in folders if any(folder.rglob("config.json"))]


def _describe(folder: Path) -> BundledModel:
    config = json.loads(next(folder.rglob("config.json")).read_text(encoding="utf-8"))
    weights = sorted(folder.rglob("*.safetensors"))
    return BundledModel(
        name=folder.name,
        architecture=(config.get("architectures") or [config.get("_class_name", "unknown")])[0],
        n_parameters=sum(_count_parameters(path) for path in weights),
        n_bytes=sum(path.stat().st_size for path in weights),
        path=folder,
    )


def _count_parameters(path: Path) -> int:
    # safetensors: the header's length (8 bytes, little endian), then the header as JSON
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
    except (struct.error, ValueError, MemoryError, OverflowError) as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from error
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
