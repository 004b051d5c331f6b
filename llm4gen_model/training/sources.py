"""Where a batch gets what the frozen encoders say: from the cache, or from the encoders themselves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import AutoencoderKL

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_model.llm import LanguageModel
from llm4gen_model.training.buckets import Buckets, Size, nearest_size
from llm4gen_model.training.data import Pairs
from llm4gen_model.training.encode import encode_images, fitted, text_key
from llm4gen_model.training.images import StoredImages
from llm4gen_model.training.store import FeatureStore

WINDOWS_KEPT = 4


@dataclass(frozen=True, slots=True)
class CachedLatents:
    """VAE moments from the cache."""

    store: FeatureStore

    def buckets(self, pairs: Pairs) -> Buckets:
        """Which rows have latents of one shape."""
        return Buckets(np.unique(self.store.shapes[self._entries(pairs)], axis=0, return_inverse=True)[1].reshape(-1))

    def moments(self, pairs: Pairs, rows: Sequence[int]) -> tuple[list[torch.Tensor], list[Size]]:
        """Moments `[2C,h,w]` of the images of `rows`, and those images' own sizes in pixels."""
        found = self._entries(pairs, rows)
        sizes = [(height, width) for height, width in self.store.sizes[found].tolist()]
        return [self.store.entry(number).float() for number in found.tolist()], sizes

    def _entries(self, pairs: Pairs, rows: Sequence[int] | None = None) -> np.ndarray:
        column = pairs.table["sha256"] if rows is None else pairs.table["sha256"].take(list(rows))
        keys = column.to_pylist()
        found = self.store.find(keys)
        if (found < 0).any():
            raise UserError(
                f"{self.store.folder}: has no latents of image {keys[int(np.argmin(found))][:16]}; "
                "`llm4gen-model cache` makes what is missing"
            )
        return found


@dataclass(frozen=True, slots=True)
class CachedText:
    """Features of the language model from the cache."""

    store: FeatureStore

    def features(self, captions: Sequence[str]) -> list[torch.Tensor]:
        """Features `[n_tokens,width]` of every caption, in the type they are stored in."""
        found = self.store.find([text_key(caption) for caption in captions])
        if (found < 0).any():
            raise UserError(
                f"{self.store.folder}: has no features of the caption {captions[int(np.argmin(found))][:60]!r}; "
                "`llm4gen-model cache` makes what is missing"
            )
        return [self.store.entry(number) for number in found.tolist()]


@dataclass(frozen=True, slots=True)
class OnlineLatents:
    """VAE moments made when they are asked for."""

    images: StoredImages
    vae: AutoencoderKL
    sizes: Sequence[Size]
    """What images are brought to."""

    def buckets(self, pairs: Pairs) -> Buckets:
        """Which rows will have latents of one shape."""
        chosen = [nearest_size(size, self.sizes) for size in self.images.sizes(pairs)]
        return Buckets(np.array([self.sizes.index(size) for size in chosen]))

    def moments(self, pairs: Pairs, rows: Sequence[int]) -> tuple[list[torch.Tensor], list[Size]]:
        """Moments `[2C,h,w]` of the images of `rows`, and those images' own sizes in pixels."""
        pictures = []
        for row in rows:
            try:
                pictures.append(fitted(self.images.read(pairs, row), self.sizes))
            except ImageError as error:
                raise UserError(
                    f"the image of pair {pairs.table['key'][row].as_py()!r} cannot be decoded ({error}); "
                    "remove the row, or use cache_mode: disk, which leaves such pairs out"
                ) from error
        moments = encode_images(self.vae, [picture for picture, _ in pictures])
        return [values.cpu() for values in moments], [size for _, size in pictures]


@dataclass(frozen=True, slots=True)
class OnlineText:
    """Features of the language model made when they are asked for, those of several coming steps at once."""

    llm: LanguageModel
    _windows: OrderedDict[tuple[str, ...], dict[str, torch.Tensor]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def features(self, captions: Sequence[str], window: Sequence[str]) -> list[torch.Tensor]:
        """Features `[n_tokens,width]` of every caption, float32; `window` are the captions to be encoded with them.

        The language model sorts them by length, so that little is spent on padding. A window is always encoded
        whole, also where a run is taken up again in its middle: what is encoded together decides the last bits.
        """
        wanted = tuple(sorted(set(window)))
        with self._lock:
            if wanted not in self._windows:
                encoded = [features.cpu() for features in self.llm.encode(wanted)]
                self._windows[wanted] = dict(zip(wanted, encoded, strict=True))
                while len(self._windows) > WINDOWS_KEPT:
                    self._windows.popitem(last=False)
            features = self._windows[wanted]
        return [features[caption] for caption in captions]
