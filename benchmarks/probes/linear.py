"""A linear classifier on states: multinomial logistic regression, its penalty chosen on states kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
MAX_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class Linear:
    """Standardise, multiply, take the largest; `accuracy` is that on the states that chose the penalty."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    labels: tuple[str, ...]
    accuracy: float

    def predict(self, states: torch.Tensor) -> list[str]:
        """The label of each of `states` [N, D]."""
        standard = (states - self.mean) / self.scale
        logits = standard @ self.weight[:-1] + self.weight[-1]
        return [self.labels[i] for i in logits.argmax(dim=1).tolist()]


def fit(states: torch.Tensor, labels: Sequence[str], dev_states: torch.Tensor, dev_labels: Sequence[str]) -> Linear:
    """Fit on `states` [N, D] with each penalty; the one that is right most often on `dev_states` is kept."""
    names = tuple(sorted(set(labels)))
    mean, scale = states.mean(dim=0), states.std(dim=0).clamp(min=1e-6)
    standard = (states - mean) / scale
    target = torch.tensor([names.index(label) for label in labels])
    best: Linear | None = None
    for penalty in PENALTIES:
        weight = _solve(standard, target, len(names), penalty)
        fitted = Linear(mean, scale, weight, names, 0.0)
        right = [a == b for a, b in zip(fitted.predict(dev_states), dev_labels, strict=True)]
        accuracy = sum(right) / max(len(right), 1)
        if best is None or accuracy > best.accuracy:
            best = Linear(mean, scale, weight, names, accuracy)
    assert best is not None
    return best


def _solve(states: torch.Tensor, target: torch.Tensor, n_labels: int, penalty: float) -> torch.Tensor:
    """Weights [D + 1, L], the bias last, with the least cross-entropy plus `penalty` times their squares."""
    weight = torch.zeros(states.shape[1] + 1, n_labels, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(states @ weight[:-1] + weight[-1], target) + penalty * weight[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach()
