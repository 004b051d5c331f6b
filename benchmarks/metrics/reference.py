"""What pictures are compared with as a whole: features of a folder of real ones, or published statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.downloads import cache_folder
from benchmarks.encoders import EncoderSpec, load_encoder
from benchmarks.images import MAX_FILE_BYTES, MAX_PIXELS
from benchmarks.metrics.distances import Gaussian, gaussian
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError, prepare
from llm4gen_data.runs import atomic_path, fingerprint_hash, sha256_file

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
BATCH_SIZE = 64
N_READERS = 4


@dataclass(frozen=True)
class Reference:
    """`path` is a folder of pictures (searched in depth) or an .npz file with `mu`, `sigma` and, if known, `n`.

    Raises UserError, when it is first looked at, for anything else, or a picture that cannot be read.
    """

    path: Path
    spec: EncoderSpec

    def identity(self) -> dict[str, Any]:
        """Its name, the sha256 over the list of its files or of the file, and how many pictures it stands for."""
        return {"name": self.path.name, "sha256": self._sha256, "n_images": self.gaussian.n}

    @cached_property
    def gaussian(self) -> Gaussian:
        """Mean and covariance of its features."""
        if self.features is not None:
            return gaussian(self.features)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                mean, covariance = np.asarray(file["mu"], np.float64), np.asarray(file["sigma"], np.float64)
                n = int(file["n"]) if "n" in file else None
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"fid: {self.path}: expected an .npz file with mu [D] and sigma [D, D]: {error}"
            ) from error
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or not np.isfinite(covariance).all():
            raise UserError(f"fid: {self.path}: mu {mean.shape} and sigma {covariance.shape}: expected [D] and [D, D]")
        return Gaussian(n, mean, covariance)

    @cached_property
    def features(self) -> np.ndarray | None:
        """[N, D] float32 of its pictures, without logits, mapped from the cache; None of an .npz file."""
        if self.path.is_file():
            return None
        encoder = load_encoder(self.spec)
        key = fingerprint_hash({"encoder": encoder.identity(), "files": self._sha256})
        kept = cache_folder("fid") / f"reference-{key}.npy"
        if not kept.is_file():
            with atomic_path(kept) as temporary, temporary.open("wb") as file:
                np.save(file, self._encode(encoder))
        return np.asarray(np.load(kept, mmap_mode="r", allow_pickle=False))

    def _encode(self, encoder: Any) -> np.ndarray:
        from tqdm import tqdm

        n_logits = getattr(encoder, "n_logits", 0)
        parts = []
        with ThreadPoolExecutor(N_READERS) as readers:
            for start in tqdm(range(0, len(self._files), BATCH_SIZE), desc="reference", unit="batch"):
                pictures = list(readers.map(_picture, self._files[start : start + BATCH_SIZE]))
                found = encoder.encode(pictures)
                parts.append(np.asarray(found[:, : found.shape[1] - n_logits], np.float32))
        return np.concatenate(parts)

    @cached_property
    def _files(self) -> Sequence[Path]:
        files = sorted(file for file in self.path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if len(files) < 2:
            raise UserError(
                f"fid: {self.path}: {len(files)} pictures, expected a folder of at least 2, or an .npz file"
            )
        return files

    @cached_property
    def _sha256(self) -> str:
        if self.path.is_file():
            return sha256_file(self.path)
        with ThreadPoolExecutor(N_READERS) as readers:
            listed = sorted(readers.map(sha256_file, self._files))  # whatever their names are
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _picture(path: Path) -> Image:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ImageError(f"over the limit of {MAX_FILE_BYTES} bytes")
        return prepare(path.read_bytes(), MAX_PIXELS).image
    except (ImageError, OSError) as error:
        raise UserError(f"fid: {path}: {error}") from error
