import torch

from benchmarks.probes.linear import fit


def data(n: int, seed: int) -> tuple[torch.Tensor, list[str]]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, 20, generator=generator) * torch.linspace(0.01, 100, 20)
    return states, ["red" if row[3] > 0 else "blue" for row in states]


def test_what_is_linear_is_found_whatever_its_scale() -> None:
    fitted = fit(*data(300, 0), *data(100, 1))
    states, labels = data(200, 2)
    right = sum(a == b for a, b in zip(fitted.predict(states), labels, strict=True))
    assert right > 175
    assert fitted.accuracy > 0.9


def test_what_is_not_there_is_not_found() -> None:
    states, _ = data(300, 0)
    labels = ["red", "blue", "teal"] * 100
    fitted = fit(states, labels, states[:150] + 0.0, labels[150:])
    fresh, _ = data(300, 3)
    assert sum(a == b for a, b in zip(fitted.predict(fresh), labels, strict=True)) < 140
