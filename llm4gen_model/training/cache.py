"""Latents and language-model features on disk, each found by the hash of the image or text it was made from.

`CACHE/latents` and `CACHE/text` each hold `identity.json` (everything that changes the values) and shards
`<hash>.safetensors`. An entry is there or is not; a partial cache is completed, another encoder's is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError, prepare
from llm4gen_data.runs import atomic_path, diff, read_json, write_json
from llm4gen_data.sources.images import MAX_DECODED_PIXELS
from llm4gen_model.llm import LanguageModel
from llm4gen_model.models import module_sha256
from llm4gen_model.training.data import Pairs

T = TypeVar("T")
Encode = Callable[[Sequence[T]], list[torch.Tensor]]  # one tensor [rows, ...] an input
CACHE_DTYPE = torch.float16
LATENT_SHARD_ENTRIES = 2048
TEXT_SHARD_ENTRIES = 512
ENCODE_BATCH = 32


@dataclass
class FeatureStore:
    """Tensors by key in a folder of safetensors shards; reading is by memory map, one entry at a time."""

    folder: Path
    identity: Mapping[str, Any]
    entries: dict[str, tuple[Path, int, int]] = field(default_factory=dict)
    _open: dict[Path, Any] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __getitem__(self, key: str) -> torch.Tensor:
        """The rows of one entry, as float32."""
        path, start, stop = self.entries[key]
        if path not in self._open:
            self._open[path] = safe_open(path, "pt").get_slice("values")  # type: ignore[no-untyped-call]
        rows: torch.Tensor = self._open[path][start:stop]
        return rows.float()

    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def add(self, keys: Sequence[str], values: Sequence[torch.Tensor]) -> None:
        """Store `values[i] [rows_i, ...]` under `keys[i]` as one shard. Raises UserError for values not finite."""
        stored = torch.cat([value.to(CACHE_DTYPE) for value in values]).contiguous()
        lengths = [len(value) for value in values]
        for key, part in zip(keys, torch.split(stored, lengths), strict=True):
            if not torch.isfinite(part).all():
                raise UserError(
                    f"{self.folder}: the encoder's values for entry {key[:16]} are not finite in {CACHE_DTYPE}"
                )
        metadata = {"keys": json.dumps(list(keys)), "lengths": json.dumps(lengths)}
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
        path = self.folder / f"{name}.safetensors"
        with atomic_path(path) as temporary:
            temporary.write_bytes(save({"values": stored}, metadata))
        self._index(path, keys, lengths)

    def _index(self, path: Path, keys: Sequence[str], lengths: Sequence[int]) -> None:
        start = 0
        for key, length in zip(keys, lengths, strict=True):
            self.entries[key] = (path, start, start + length)
            start += length


def open_store(folder: Path, identity: Mapping[str, Any]) -> FeatureStore:
    """Open the store in `folder`, or begin one. Raises UserError if another encoder made it or a shard is damaged."""
    identity = json.loads(json.dumps(identity))
    known = folder / "identity.json"
    if known.exists():
        difference = diff(read_json(known), identity)
        if difference:
            raise UserError(
                f"{folder}: holds the features of another encoder ({'; '.join(difference)}); give another --cache"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(known, identity)
    store = FeatureStore(folder, identity)
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as shard:
                metadata = shard.metadata()
                store._index(path, json.loads(metadata["keys"]), json.loads(metadata["lengths"]))
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise UserError(f"{path}: damaged; delete this file, and its entries are made again: {error}") from error
    return store


def complete(
    store: FeatureStore, missing: Iterable[tuple[str, T]], encode: Encode[T], total: int, shard: int, what: str
) -> None:
    """Encode what is missing and store it, a shard at a time; a kill loses at most the shard under way."""
    missing = iter(missing)
    with tqdm(total=total, desc=what, unit=" entries", disable=total == 0) as bar:
        while part := list(islice(missing, shard)):
            values: list[torch.Tensor] = []
            for batch in batched(part, ENCODE_BATCH):
                values += [value.cpu() for value in encode([item for _, item in batch])]
                bar.update(len(batch))
            store.add([key for key, _ in part], values)


def cache_latents(folder: Path, pairs: Pairs, vae: AutoencoderKL, resolution: int) -> tuple[FeatureStore, set[str]]:
    """VAE moments `[1, 2C, h, w]` of every image, by the sha256 of its file; also the hashes of unusable images.

    An image is made upright, its shorter side scaled to `resolution` pixels (LANCZOS), its middle cut out.
    """
    store = open_store(
        folder,
        {
            "vae": module_sha256(vae),
            "resolution": resolution,
            "preprocessing": "upright, shorter side by LANCZOS, centre crop",
            "dtype": str(CACHE_DTYPE),
        },
    )
    unusable_file = folder / "unusable.json"
    unusable: dict[str, str] = read_json(unusable_file) if unusable_file.exists() else {}
    wanted = set(pairs.table["sha256"].to_pylist()) - store.entries.keys() - unusable.keys()

    def decoded() -> Iterator[tuple[str, Image.Image]]:
        for sha256, data in pairs.images(wanted):
            try:
                yield sha256, square(data, resolution)
            except ImageError as error:
                unusable[sha256] = str(error)

    @torch.no_grad()
    def encode(images: Sequence[Image.Image]) -> list[torch.Tensor]:
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
        pixels = pixels.to(vae.device, vae.dtype) / 127.5 - 1
        return list(vae.encode(pixels).latent_dist.parameters.split(1))

    complete(store, decoded(), encode, len(wanted), LATENT_SHARD_ENTRIES, "latents")
    if unusable:
        write_json(unusable_file, unusable)
    return store, set(unusable)


def cache_text(folder: Path, texts: Sequence[str], llm: LanguageModel) -> FeatureStore:
    """Language-model features `[n_tokens, width]` of every text, without padding, by the sha256 of the text."""
    store = open_store(folder, {**llm.identity(), "cache_dtype": str(CACHE_DTYPE)})
    missing = [(key, text) for key, text in ((text_key(text), text) for text in texts) if key not in store]
    # Of like length together, so that little is spent on padding; shards stay in a fixed order.
    missing.sort(key=lambda item: (len(item[1]), item[0]))
    complete(store, missing, llm.encode, len(missing), TEXT_SHARD_ENTRIES, "text features")
    return store


def square(data: bytes, resolution: int) -> Image.Image:
    """The encoded image as `resolution` x `resolution` RGB. Raises ImageError if it cannot be decoded."""
    image = prepare(data, max_pixels=MAX_DECODED_PIXELS).image
    return ImageOps.fit(image, (resolution, resolution), Image.Resampling.LANCZOS)


def text_key(text: str) -> str:
    """The key of a text: its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
