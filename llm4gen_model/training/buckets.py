"""Aspect-ratio buckets: which sizes images are brought to, and batches in which all images have the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from llm4gen_model.training.data import generator, order

Size = tuple[int, int]
"""Height and width in pixels."""
MAX_ASPECT_RATIO = 2.0


def bucket_sizes(resolution: int, step: int, max_aspect_ratio: float = MAX_ASPECT_RATIO) -> list[Size]:
    """The sizes of at most `resolution` x `resolution` pixels whose sides are multiples of `step`, one for each width.

    The idea is NovelAI's: for every width the largest height that fits. `step` is what the UNet asks for.
    """
    longest = int(resolution * math.sqrt(max_aspect_ratio)) // step * step
    sizes = set()
    for width in range(step, longest + 1, step):
        height = min(resolution * resolution // width // step * step, longest)
        if height and max(width / height, height / width) <= max_aspect_ratio:
            sizes |= {(height, width), (width, height)}
    return sorted(sizes)


def nearest_size(size: Size, sizes: Sequence[Size]) -> Size:
    """Of `sizes` the one nearest in aspect ratio, the larger of two equally near."""
    ratio = math.log(size[1] / size[0])
    return min(sizes, key=lambda s: (round(abs(math.log(s[1] / s[0]) - ratio), 9), -s[0] * s[1], s))


def time_ids(size: Size, target: Size) -> list[int]:
    """SDXL's micro-conditioning of an image scaled to cover `target` and cut in its middle (arXiv 2307.01952, 2.2).

    Original height and width, top and left of the cut in pixels of the scaled image, target height and width.
    """
    scale = max(target[0] / size[0], target[1] / size[1])
    top, left = (round((side * scale - wanted) / 2) for side, wanted in zip(size, target, strict=True))
    return [*size, top, left, *target]


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Which bucket every row is in; equal to itself alone, so that what follows from it is worked out once."""

    numbers: np.ndarray


def bucket_rows(buckets: Buckets, batch_size: int, seed: int, step: int) -> list[tuple[int, int]]:
    """The (row, epoch) pairs of step `step`, all of one bucket.

    Within a bucket, batches are consecutive pieces of its rows' permutations of all epochs, end to end, so that an
    epoch holds every row once and none is left over. The batches that begin in an epoch come in an order of chance.
    All of it is a function of (seed, epoch), found without going through the steps before.
    """
    members = _members(buckets)
    epoch = _epoch_of(members, batch_size, step)
    begun = _batches_before(members, batch_size, epoch)
    bucket, number = _schedule(buckets, batch_size, seed, epoch)[step - sum(begun)]
    n = len(members[bucket])
    rows: list[tuple[int, int]] = []
    position = number * batch_size
    while len(rows) < batch_size:
        epoch, start = divmod(position, n)
        taken = _bucket_order(buckets, bucket, seed, epoch)[start : start + batch_size - len(rows)]
        rows += [(int(row), epoch) for row in taken]
        position += len(taken)
    return rows


def _batches_before(members: Sequence[np.ndarray], batch_size: int, epoch: int) -> list[int]:
    """How many batches of each bucket begin before an epoch."""
    return [-(-epoch * len(rows) // batch_size) for rows in members]


def _epoch_of(members: Sequence[np.ndarray], batch_size: int, step: int) -> int:
    """The epoch in which the batch of a step begins."""
    n_rows = sum(len(rows) for rows in members)
    # every bucket begins less than one batch early
    epoch = max(0, (step - len(members)) * batch_size // n_rows)
    while sum(_batches_before(members, batch_size, epoch + 1)) <= step:
        epoch += 1
    return epoch


@lru_cache(maxsize=2)
def _members(buckets: Buckets) -> list[np.ndarray]:
    """The rows of every bucket."""
    return [np.flatnonzero(buckets.numbers == number) for number in np.unique(buckets.numbers)]


@lru_cache(maxsize=2)
def _schedule(buckets: Buckets, batch_size: int, seed: int, epoch: int) -> list[tuple[int, int]]:
    """The batches that begin in an epoch as (bucket, number of the batch within it), in the order of training."""
    members = _members(buckets)
    begun, ends = (_batches_before(members, batch_size, e) for e in (epoch, epoch + 1))
    batches = [(b, number) for b in range(len(members)) for number in range(begun[b], ends[b])]
    return [batches[i] for i in generator("buckets", seed, epoch).permutation(len(batches))]


@lru_cache(maxsize=256)
def _bucket_order(buckets: Buckets, bucket: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of a bucket as they come in the permutation of the whole epoch."""
    shuffled = order(len(buckets.numbers), seed, epoch)
    return shuffled[np.isin(shuffled, _members(buckets)[bucket])]
