"""How large a cache becomes and how long it takes, from a few of its entries made on this device."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_model.llm import LanguageModel
from llm4gen_model.training.buckets import Size
from llm4gen_model.training.cache import LATENTS_DTYPE, missing_images, missing_texts, read_unusable
from llm4gen_model.training.data import Pairs
from llm4gen_model.training.encode import encode_images, fitted
from llm4gen_model.training.store import FeatureStore

SAMPLE_IMAGES = 16
SAMPLE_TEXTS = 64
# What a disk should still hold when the cache is full.
SPARE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to be made of one store; `seconds_each` is None where nothing was measured."""

    name: str
    n_missing: int
    n_total: int
    bytes_each: float
    seconds_each: float | None
    shape: str

    @property
    def n_bytes(self) -> float:
        """Bytes that what is missing will take."""
        return self.n_missing * self.bytes_each

    def line(self, n_processes: int = 1) -> str:
        """One line for people."""
        told = f"{self.name}: {self.n_missing:,} of {self.n_total:,} to make"
        if self.n_missing:
            told += f", {self.n_bytes / 1e9:.3g} GB ({self.shape})"
        if self.n_missing and self.seconds_each is not None:
            seconds = self.n_missing * self.seconds_each / n_processes
            told += f", about {_duration(seconds)} at {n_processes / self.seconds_each:,.0f}/s"
        return told


def estimate_latents(
    store: FeatureStore, pairs: Pairs, vae: AutoencoderKL, sizes: Sequence[Size], *, timed: bool = False
) -> Estimate:
    """What the store of latents lacks; with `timed`, some images are decoded and encoded to see how long it takes."""
    keys = set(pairs.table["sha256"].to_pylist())
    missing = missing_images(store, pairs, read_unusable(store.folder))
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (2 * vae.config.latent_channels, height // scale, width // scale)
    bytes_each = float(shape[0] * shape[1] * shape[2] * LATENTS_DTYPE.itemsize)
    about = f"{' x '.join(map(str, shape))} {str(LATENTS_DTYPE).removeprefix('torch.')}"
    if len(sizes) > 1:
        about += f" at most, {len(sizes)} buckets"
    seconds = _seconds_per_image(pairs, missing, vae, sizes) if timed and missing else None
    return Estimate("latents", len(missing), len(keys), bytes_each, seconds, about)


def estimate_text(
    store: FeatureStore, texts: Sequence[str], llm: LanguageModel, dtype: torch.dtype, *, timed: bool = False
) -> Estimate:
    """What the store of text features lacks; the mean length is that of a sample of texts, encoded to see."""
    missing = [text for _, text in missing_texts(store, texts)]
    n_total, n_tokens, seconds = len(set(texts)), float(llm.max_tokens), None
    if missing and (timed or len(missing) > 4 * SAMPLE_TEXTS):
        sample = missing[:: max(1, len(missing) // SAMPLE_TEXTS)][:SAMPLE_TEXTS]
        llm.encode(sample[:1])  # what is only paid once
        began = time.perf_counter()
        encoded = [len(features.cpu()) for features in llm.encode(sample)]
        seconds = (time.perf_counter() - began) / len(sample)
        n_tokens = sum(encoded) / len(encoded)
    about = f"{n_tokens:.1f} tokens x {llm.width} {str(dtype).removeprefix('torch.')}"
    bytes_each = n_tokens * llm.width * dtype.itemsize
    return Estimate("text features", len(missing), n_total, bytes_each, seconds if timed else None, about)


def require_space(folder: Path, estimates: Sequence[Estimate]) -> None:
    """Raise UserError if the disk of `folder` cannot hold what is still to be made."""
    needed, free = sum(estimate.n_bytes for estimate in estimates), free_bytes(folder)
    if needed and needed + SPARE_BYTES > free:
        raise UserError(
            f"{folder}: the cache needs about {needed / 1e9:.3g} GB more ("
            f"{'; '.join(estimate.line() for estimate in estimates)}), {free / 1e9:.3g} GB are free there; "
            "give another --cache, or --set cache_mode=none"
        )


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that holds `folder`, or will."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _seconds_per_image(pairs: Pairs, missing: set[str], vae: AutoencoderKL, sizes: Sequence[Size]) -> float | None:
    first = [key for key in pairs.table["sha256"].to_pylist() if key in missing][:SAMPLE_IMAGES]
    images = [data for _, data in pairs.images(set(first))]
    began = time.perf_counter()
    pictures = []
    for data in images:
        try:
            pictures.append(fitted(data, sizes)[0])
        except ImageError:
            continue
    decoded = time.perf_counter() - began
    if not pictures:
        return None
    encode_images(vae, pictures[:1])  # what is only paid once
    alike = [picture for picture in pictures if picture.size == pictures[0].size]
    began = time.perf_counter()
    [moments.cpu() for moments in encode_images(vae, alike)]
    return decoded / len(images) + (time.perf_counter() - began) / len(alike)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
