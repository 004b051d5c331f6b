"""How far two sets of features are apart, and how sure and varied class probabilities are; all in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llm4gen_data.errors import UserError

BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Mean [D] and unbiased covariance [D, D] of features of `n` pictures (None: the file does not say)."""

    n: int | None
    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over subsets or splits and their standard deviation, which is no interval of the mean."""

    mean: float
    std: float


def gaussian(features: np.ndarray) -> Gaussian:
    """Of features [N, D], read block by block. Raises UserError for fewer than two rows."""
    n = len(features)
    if n < 2:
        raise UserError(f"{n} pictures, expected at least 2 for a covariance")
    mean = sum(block.sum(axis=0) for block in _blocks(features)) / n
    scatter = np.zeros((len(mean), len(mean)))
    for block in _blocks(features):
        centred = block - mean
        scatter += centred.T @ centred
    return Gaussian(n, np.asarray(mean), scatter / (n - 1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|mean_a - mean_b|^2 + Tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2), by symmetric eigendecompositions.

    The product in the middle is symmetric and has no negative eigenvalues, so nothing is complex and nothing has to
    be added to the diagonal, as the square root of C_a C_b itself often needs (Heusel et al. 2017).
    """
    if a.mean.shape != b.mean.shape:
        raise UserError(f"features of {len(a.mean)} and of {len(b.mean)} numbers have no distance")
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    middle = root @ b.covariance @ root
    shared = np.sqrt(np.clip(np.linalg.eigvalsh((middle + middle.T) / 2), 0, None)).sum()
    between = float(np.square(a.mean - b.mean).sum())
    return max(0.0, between + float(np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared))


def kernel_distance(a: np.ndarray, b: np.ndarray, n_subsets: int, subset_size: int, seed: int) -> Spread:
    """KID: the unbiased squared MMD of features [N, D] and [M, D] with the kernel (x.y / D + 1)^3.

    Over `n_subsets` seeded random subsets of `subset_size` rows of each (Binkowski et al. 2018). Raises UserError if
    one of them has fewer rows.
    """
    if not 2 <= subset_size <= min(len(a), len(b)):
        raise UserError(f"KID: subsets of {subset_size} from {len(a)} and {len(b)} pictures, expected at most as many")
    random = np.random.default_rng(seed)
    values = []
    for _ in range(n_subsets):
        own, other = (np.sort(random.choice(len(rows), subset_size, replace=False)) for rows in (a, b))
        values.append(_squared_mmd(np.asarray(a[own], np.float64), np.asarray(b[other], np.float64)))
    return Spread(float(np.mean(values)), float(np.std(values)))


def inception_score(logits: np.ndarray, n_splits: int, seed: int) -> Spread:
    """exp of the mean KL divergence of class probabilities from their mean, of logits [N, classes].

    Over `n_splits` parts of a seeded shuffle (Salimans et al. 2016). Raises UserError for fewer rows than parts.
    """
    if not 1 <= n_splits <= len(logits):
        raise UserError(f"Inception score: {n_splits} splits of {len(logits)} pictures, expected at most as many")
    order = np.random.default_rng(seed).permutation(len(logits))
    values = []
    for part in np.array_split(order, n_splits):
        own = np.asarray(logits[np.sort(part)], np.float64)
        own = own - own.max(axis=1, keepdims=True)
        log_p = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
        p = np.exp(log_p)
        log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(float).tiny))
        values.append(float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean())))
    return Spread(float(np.mean(values)), float(np.std(values)))


def _squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    n, width = a.shape
    within = sum(_kernel(own, own, width).sum() - _kernel_with_itself(own, width).sum() for own in (a, b))
    return float(within / (n * (n - 1)) - 2 * _kernel(a, b, width).mean())


def _kernel(a: np.ndarray, b: np.ndarray, width: int) -> np.ndarray:
    return np.asarray((a @ b.T / width + 1) ** 3)


def _kernel_with_itself(a: np.ndarray, width: int) -> np.ndarray:
    return np.asarray((np.square(a).sum(axis=1) / width + 1) ** 3)


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(features), BLOCK_ROWS):
        yield np.asarray(features[start : start + BLOCK_ROWS], np.float64)
