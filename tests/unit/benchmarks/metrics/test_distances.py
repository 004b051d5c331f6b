"""Distances of distributions against closed forms and against torchmetrics."""

import numpy as np
import pytest
import torch

from benchmarks.metrics.distances import Gaussian, frechet_distance, gaussian, inception_score, kernel_distance
from llm4gen_data.errors import UserError

RANDOM = np.random.default_rng(0)


def test_frechet_distance_of_known_gaussians() -> None:
    """Covariances that commute: |m|^2 + sum (sqrt a - sqrt b)^2, whatever the axes are."""
    axes, _ = np.linalg.qr(RANDOM.normal(size=(6, 6)))
    ours, theirs = RANDOM.uniform(0.1, 4, 6), RANDOM.uniform(0.1, 4, 6)
    means = RANDOM.normal(size=(2, 6))
    a = Gaussian(100, means[0], axes @ np.diag(ours) @ axes.T)
    b = Gaussian(100, means[1], axes @ np.diag(theirs) @ axes.T)
    expected = np.square(means[0] - means[1]).sum() + np.square(np.sqrt(ours) - np.sqrt(theirs)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_other_gaussians_as_torchmetrics_has_it() -> None:
    from torchmetrics.image.fid import _compute_fid

    samples = [RANDOM.normal(size=(50, 5)) @ RANDOM.normal(size=(5, 5)) + RANDOM.normal(size=5) for _ in range(2)]
    a, b = map(gaussian, samples)
    np.testing.assert_allclose(a.covariance, np.cov(samples[0].T))
    tensors = [torch.from_numpy(part) for own in (a, b) for part in (own.mean, own.covariance)]
    assert frechet_distance(a, b) == pytest.approx(float(_compute_fid(*tensors)), rel=1e-9)


def test_fewer_pictures_than_features() -> None:
    """Singular covariances, where the square root of the product breaks down."""
    few = RANDOM.normal(size=(5, 40))
    moved = few + 2
    assert frechet_distance(gaussian(few), gaussian(moved)) == pytest.approx(4 * 40, rel=1e-6)
    with pytest.raises(UserError, match="at least 2"):
        gaussian(few[:1])


def test_kernel_distance_as_torchmetrics_has_it() -> None:
    from torchmetrics.image.kid import poly_mmd

    a, b = RANDOM.normal(size=(40, 8)), RANDOM.normal(0.5, 1, size=(40, 8))
    whole = kernel_distance(a, b, n_subsets=3, subset_size=40, seed=0)
    assert whole.mean == pytest.approx(float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b))), rel=1e-9)
    assert whole.std == pytest.approx(0, abs=1e-12)
    parts = kernel_distance(a, b, n_subsets=200, subset_size=20, seed=0)
    assert parts.mean == pytest.approx(whole.mean, rel=0.1)
    assert parts == kernel_distance(a, b, n_subsets=200, subset_size=20, seed=0)
    with pytest.raises(UserError, match="subsets of 41"):
        kernel_distance(a, b, n_subsets=1, subset_size=41, seed=0)


def test_kernel_distance_is_unbiased() -> None:
    values = []
    for _ in range(300):
        a, b = RANDOM.normal(size=(2, 30, 4))
        values.append(kernel_distance(a, b, n_subsets=1, subset_size=30, seed=0).mean)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_inception_score_of_extremes() -> None:
    sure = np.repeat(np.eye(4) * 200.0, 10, axis=0)  # four classes, equally often, each certain
    assert inception_score(sure, n_splits=1, seed=0).mean == pytest.approx(4)
    assert inception_score(np.zeros((40, 4)), n_splits=10, seed=0).mean == pytest.approx(1)
    with pytest.raises(UserError, match="10 splits of 3"):
        inception_score(np.zeros((3, 4)), n_splits=10, seed=0)
