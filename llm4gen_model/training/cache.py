"""Latents and language-model features on disk, each found by the hash of the image or text it was made from.

`CACHE/latents` and `CACHE/text` are stores (store.py). An entry is there or is not: a partial cache is completed, also
by several processes or machines at once, each with a part of its own; another encoder's is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from PIL import Image
from tqdm import tqdm

from llm4gen_data.errors import UsageError
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_data.runs import read_json, write_json
from llm4gen_model.llm import LanguageModel
from llm4gen_model.models import module_sha256
from llm4gen_model.training.buckets import Size
from llm4gen_model.training.data import Pairs
from llm4gen_model.training.encode import PREPROCESSING, encode_images, fitted, text_key
from llm4gen_model.training.prefetch import map_ahead
from llm4gen_model.training.store import FeatureStore, begin_store, open_store, write_shard

T = TypeVar("T")
LATENTS_DTYPE = torch.float16
ENCODE_BATCH = 32
LATENTS_SHARD_ENTRIES = 2048
TEXT_SHARD_ENTRIES = 512
# Inputs that are sorted into groups of one size together.
CHUNK = 8 * ENCODE_BATCH
DECODE_AHEAD = 4 * ENCODE_BATCH
NO_SIZE: Size = (0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the entries that no other part has: those whose hash is `index` modulo `count`."""

    index: int = 0
    count: int = 1

    def holds(self, sha256: str) -> bool:
        """Whether an entry is this part's to make."""
        return int(sha256[:8], 16) % self.count == self.index

    def divided(self, index: int, count: int) -> Part:
        """Piece `index` of `count` of this part."""
        return Part(self.index + self.count * index, self.count * count)


def read_part(text: str | None) -> Part:
    """The part that `I/N` names, counted from 1; all of it for None. Raises UsageError for anything else."""
    if text is None:
        return Part()
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--part {text!r}: expected I/N, such as 1/4 for the first of four parts")
    return Part(int(match[1]) - 1, int(match[2]))


def latents_identity(vae: AutoencoderKL, sizes: Sequence[Size]) -> dict[str, Any]:
    """Everything that changes cached latents."""
    return {
        "vae": module_sha256(vae),
        "sizes": [list(size) for size in sizes],
        "preprocessing": PREPROCESSING,
        "dtype": str(LATENTS_DTYPE),
    }


def text_identity(llm: LanguageModel, dtype: torch.dtype) -> dict[str, Any]:
    """Everything that changes cached language-model features."""
    return {**llm.identity(), "cache_dtype": str(dtype)}


def cache_latents(
    folder: Path, pairs: Pairs, vae: AutoencoderKL, sizes: Sequence[Size], part: Part | None = None
) -> tuple[FeatureStore, set[str]]:
    """VAE moments `[2C,h,w]` of every image, by the sha256 of its file; also the hashes of unusable images.

    An image becomes that of `sizes` (height, width in pixels) which is nearest in aspect ratio; see `fitted`. Of
    what is missing only `part` is made. Raises UserError if the cache is another encoder's.
    """
    part = part or Part()
    store = open_store(folder, latents_identity(vae, sizes))
    unusable = read_unusable(folder)
    wanted = {key for key in missing_images(store, pairs, unusable) if part.holds(key)}
    found: dict[str, str] = {}

    def decoded(item: tuple[str, bytes]) -> tuple[str, Image.Image, Size] | None:
        sha256, data = item
        try:
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ImageError("its bytes are not those that the column sha256 tells of")
            return sha256, *fitted(data, sizes)
        except ImageError as error:
            found[sha256] = str(error)
            return None

    ready = map_ahead(decoded, pairs.images(wanted), threads=min(8, os.cpu_count() or 1), ahead=DECODE_AHEAD)
    images = (item for item in ready if item is not None)
    _complete(
        store,
        images,
        lambda batch: encode_images(vae, batch),
        lambda image: image.size,
        LATENTS_DTYPE,
        LATENTS_SHARD_ENTRIES,
        _bar("latents", len(wanted), part),
    )
    if found:
        begin_store(store)
        write_json(folder / f"unusable-{part.index}-of-{part.count}.json", {**unusable, **found})
    return open_store(folder, store.identity), {*unusable, *found}


def cache_text(
    folder: Path,
    texts: Sequence[str],
    llm: LanguageModel,
    part: Part | None = None,
    dtype: torch.dtype = torch.float16,
) -> FeatureStore:
    """Language-model features `[n_tokens,width]` of every text, without padding, by the sha256 of the text.

    Of what is missing only `part` is made. Raises UserError if the cache is another encoder's.
    """
    part = part or Part()
    store = open_store(folder, text_identity(llm, dtype))
    missing = [item for item in missing_texts(store, texts) if part.holds(item[0])]
    # Of like length together, so that little is spent on padding; shards stay in a fixed order.
    missing.sort(key=lambda item: (len(item[1]), item[0]))
    _complete(
        store,
        ((key, text, NO_SIZE) for key, text in missing),
        llm.encode,
        lambda _: None,
        dtype,
        TEXT_SHARD_ENTRIES,
        _bar("text features", len(missing), part),
    )
    return open_store(folder, store.identity)


def missing_images(store: FeatureStore, pairs: Pairs, unusable: Mapping[str, str]) -> set[str]:
    """The images that the store lacks, but for those known to be unusable."""
    keys = list(set(pairs.table["sha256"].to_pylist()) - unusable.keys())
    return {key for key, place in zip(keys, store.find(keys).tolist(), strict=True) if place < 0}


def missing_texts(store: FeatureStore, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Key and text of what the store lacks, each once."""
    keys = {text_key(text): text for text in texts}
    return [item for item, place in zip(keys.items(), store.find(list(keys)).tolist(), strict=True) if place < 0]


def read_unusable(folder: Path) -> dict[str, str]:
    """The images that could not be encoded, and why."""
    unusable: dict[str, str] = {}
    for path in sorted(folder.glob("unusable-*.json")):
        unusable |= read_json(path)
    return unusable


def _complete(
    store: FeatureStore,
    items: Iterable[tuple[str, T, Size]],
    encode: Callable[[list[T]], Sequence[torch.Tensor]],
    group: Callable[[T], object],
    dtype: torch.dtype,
    shard_entries: int,
    bar: tqdm[Any],
) -> None:
    """Encode items (key, input, size), those of one group together, and store them shard by shard.

    A kill loses at most the shard under way. What is encoded together depends on the items alone, not on where an
    earlier start was stopped, so that the values do not either.
    """
    items = iter(items)
    entries: list[tuple[str, torch.Tensor, Size]] = []

    def flush() -> None:
        keys, values, sizes = zip(*entries, strict=True)
        write_shard(store, keys, values, dtype, sizes)
        entries.clear()

    with bar:
        while chunk := list(islice(items, CHUNK)):
            groups: dict[object, list[tuple[str, T, Size]]] = {}
            for item in chunk:
                groups.setdefault(group(item[1]), []).append(item)
            for members in groups.values():
                for start in range(0, len(members), ENCODE_BATCH):
                    batch = members[start : start + ENCODE_BATCH]
                    encoded = encode([given for _, given, _ in batch])
                    entries += [
                        (key, values.cpu(), size) for (key, _, size), values in zip(batch, encoded, strict=True)
                    ]
                    bar.update(len(batch))
            if len(entries) >= shard_entries:
                flush()
        if entries:
            flush()


def _bar(what: str, total: int, part: Part) -> tqdm[Any]:
    name = what if part.count == 1 else f"{what} {part.index + 1}/{part.count}"
    return tqdm(total=total, desc=name, unit=" entries", disable=total == 0)
