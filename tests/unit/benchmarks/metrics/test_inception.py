"""The named modes of FID's network, with a network of our own in the place of the pinned one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.metrics import inception
from benchmarks.metrics.inception import CleanInception, TorchFidelityInception, resized_clean
from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file


class Whole(torch.nn.Module):
    """As the real one: `layers` take pixels from -1 to 1, the whole something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros: torch.Tensor = self.layers(x) * 0
        return zeros


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "network.pt"
    torch.jit.script(Whole()).save(str(file))  # type: ignore[no-untyped-call]
    monkeypatch.setattr(inception, "TORCHSCRIPT_SHA256", sha256_file(file))
    return file


def test_clean_shows_the_layers_pixels_from_minus_one_to_one(weights: Path) -> None:
    encoder = CleanInception(str(weights))
    features = encoder.encode([Image.new("RGB", (40, 20), (0, 128, 255)), Image.new("RGB", (9, 9), (64, 0, 0))])
    np.testing.assert_allclose(features, [[-1, 0, 127 / 128], [-0.5, -1, -1]], atol=1e-5)
    assert encoder.identity()["weights"] == sha256_file(weights)


def test_clean_resize_keeps_fractions_and_range() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (512, 640, 3), dtype=np.uint8)
    small = resized_clean(Image.fromarray(pixels))
    assert small.shape == (3, 299, 299)
    assert small.dtype == np.float32
    assert 0 < np.abs(small - np.rint(small)).mean() < 0.5  # not rounded to whole grey levels
    assert small.mean() == pytest.approx(pixels.mean(), abs=0.5)
    edges = np.zeros((100, 100, 3), np.uint8)
    edges[:, 50:] = 255
    assert (resized_clean(Image.fromarray(edges)).min(), resized_clean(Image.fromarray(edges)).max()) == (0, 255)


def test_another_program_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"sha256 is .*, expected f58cb9b6"):
        CleanInception(str(tmp_path / "other.pt")).encode([Image.new("RGB", (9, 9))])
    with pytest.raises(UserError, match="expected 6726825d of https"):
        TorchFidelityInception(str(tmp_path / "other.pt")).identity()
    with pytest.raises(UserError, match="expected float32"):
        CleanInception(str(tmp_path / "other.pt"), dtype="float16")
