"""Tensors by content hash in a folder of safetensors shards: unpadded, read by memory map, never changed.

`identity.json` holds everything that changes the values. A shard `<hash>.safetensors` holds `values`, all entries end
to end, and beside it `keys` `[n,32]` (sha256), `shapes` `[n,dims]` and `sizes` `[n,2]` (of the image, or zeros).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path, diff, read_json, write_json

FORMAT = 2
KEY = np.dtype("V32")
TENSORS = ("values", "keys", "shapes", "sizes")


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """What was in a folder when it was opened; of the arrays, row i is entry i."""

    folder: Path
    identity: Mapping[str, Any]
    shards: tuple[Path, ...]
    values: tuple[torch.Tensor, ...]
    """Memory maps, one a shard."""
    order: np.ndarray
    """The first eight bytes of each key as a number, ascending: hashes that share them do not happen by chance."""
    keys: np.ndarray
    shard: np.ndarray
    start: np.ndarray
    shapes: np.ndarray
    """`[n,dims]`."""
    sizes: np.ndarray
    """Height and width in pixels of the upright image an entry was made from, `[n,2]`."""

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, sha256: str) -> bool:
        return bool(self.find([sha256])[0] >= 0)

    def __getitem__(self, sha256: str) -> torch.Tensor:
        """One entry in the dtype it is stored in, a view of the file. Raises UserError if there is none."""
        number = int(self.find([sha256])[0])
        if number < 0:
            raise UserError(f"{self.folder}: has no entry {sha256[:16]}; `llm4gen-model cache` makes what is missing")
        return self.entry(number)

    def entry(self, number: int) -> torch.Tensor:
        """The entry at a position that `find` gave."""
        shape, start = self.shapes[number].tolist(), int(self.start[number])
        length = int(np.prod(shape))
        values: torch.Tensor = self.values[self.shard[number]][start : start + length].view(shape)
        return values

    def find(self, sha256: Sequence[str]) -> np.ndarray:
        """The positions of entries, -1 where there is none."""
        wanted = hex_keys(sha256)
        if not len(self.keys):
            return np.full(len(wanted), -1)
        places = np.searchsorted(self.order, _numbers(wanted)).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == wanted, places, -1)

    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(path.stat().st_size for path in self.shards)

    def damage(self) -> list[str]:
        """Read everything; a line for each shard whose values are not those that were written, or not finite."""
        lines = []
        for path in self.shards:
            part = _read_shard(path)
            with safe_open(path, "pt") as shard:
                told = shard.metadata()["sha256"]
            if _sha256(part) != told:
                lines.append(f"{path}: damaged; delete this file, and its entries are made again")
            elif not torch.isfinite(part["values"]).all():
                lines.append(f"{path}: holds values that are not finite; delete this file")
        return lines


def open_store(folder: Path, identity: Mapping[str, Any]) -> FeatureStore:
    """Open the store in `folder`, which may not be there yet; nothing is written.

    Raises UserError if it was made by another encoder or with other settings, or if a shard is damaged.
    """
    identity = json.loads(json.dumps({"format": FORMAT, **identity}))
    known = folder / "identity.json"
    if known.exists():
        difference = diff(read_json(known), identity)
        if difference:
            raise UserError(
                f"{folder}: holds the features of another encoder ({'; '.join(difference)}); give another --cache"
            )
    paths = sorted(folder.glob("*.safetensors"))
    parts = [_read_shard(path) for path in paths]
    values = tuple(part["values"] for part in parts)
    numbers = np.repeat(np.arange(len(parts)), [len(part["keys"]) for part in parts])
    if not parts:
        empty = np.zeros((0, 2), np.int64)
        keys = np.zeros(0, KEY)
        return FeatureStore(folder, identity, (), (), _numbers(keys), keys, numbers, numbers, empty, empty)
    keys = np.concatenate([np.ascontiguousarray(part["keys"].numpy()).view(KEY)[:, 0] for part in parts])
    shapes = np.concatenate([part["shapes"].numpy() for part in parts])
    sizes = np.concatenate([part["sizes"].numpy() for part in parts])
    start = np.concatenate([_starts(part["shapes"].numpy()) for part in parts])
    # an entry that two processes made at once is there twice; the first is as good as the second
    order, first = np.unique(_numbers(keys), return_index=True)
    rows = (column[first] for column in (keys, numbers, start, shapes, sizes))
    return FeatureStore(folder, identity, tuple(paths), values, order, *rows)


def begin_store(store: FeatureStore) -> None:
    """Make the folder of a store, and write down whose values it holds, if that has not been done."""
    if not (store.folder / "identity.json").exists():
        store.folder.mkdir(parents=True, exist_ok=True)
        write_json(store.folder / "identity.json", store.identity)


def write_shard(
    store: FeatureStore,
    keys: Sequence[str],
    values: Sequence[torch.Tensor],
    dtype: torch.dtype,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Store `values[i]` under `keys[i]` (sha256 in hex) as one more shard, whole or not at all.

    Raises UserError for values that are not finite in `dtype`.
    """
    stored = [value.to("cpu", dtype) for value in values]
    for key, value in zip(keys, stored, strict=True):
        if not torch.isfinite(value).all():
            raise UserError(
                f"{store.folder}: the encoder's values for entry {key[:16]} are not finite in {dtype}; "
                "nothing of this shard is stored; where the encoder itself is sound, "
                "--set cache_dtype=bfloat16 holds larger values"
            )
    content = {
        "values": torch.cat([value.reshape(-1) for value in stored]),
        "keys": torch.from_numpy(hex_keys(keys).view(np.uint8).reshape(-1, 32).copy()),
        "shapes": torch.tensor([list(value.shape) for value in stored], dtype=torch.int32),
        "sizes": torch.tensor(sizes or [(0, 0)] * len(keys), dtype=torch.int32),
    }
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
    begin_store(store)
    with atomic_path(store.folder / f"{name}.safetensors") as temporary:
        temporary.write_bytes(save(content, {"sha256": _sha256(content)}))


def _read_shard(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a shard, memory maps. Raises UserError if it is no such file or its parts do not fit."""
    try:
        with safe_open(path, "pt") as file:
            part = {name: file.get_tensor(name) for name in TENSORS}
        n_values = int(part["shapes"].long().prod(dim=1).sum())
        if n_values != len(part["values"]) or not len(part["keys"]) == len(part["shapes"]) == len(part["sizes"]):
            raise ValueError("its tables and values differ in length")
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: damaged; delete this file, and its entries are made again: {error}") from error
    return part


def _starts(shapes: np.ndarray) -> np.ndarray:
    lengths = shapes.astype(np.int64).prod(axis=1)
    starts: np.ndarray = np.cumsum(lengths) - lengths
    return starts


def hex_keys(sha256: Sequence[str]) -> np.ndarray:
    """Hashes in hex as an array of their 32 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(sha256)), KEY)


def _numbers(keys: np.ndarray) -> np.ndarray:
    return keys.view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def _sha256(part: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in TENSORS:
        digest.update(part[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
