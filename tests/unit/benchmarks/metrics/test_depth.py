"""transformers depth models on tiny random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DPTForDepthEstimation

from benchmarks.metrics.depth import TransformersDepth
from benchmarks.metrics.detection import load_depth
from llm4gen_data.errors import UserError
from tests.unit.benchmarks.metrics.test_detectors import IMAGES
from tests.unit.benchmarks.metrics.tiny_models import tiny_depth_anything, tiny_dpt_hybrid


@pytest.mark.parametrize("make", [tiny_dpt_hybrid, tiny_depth_anything])
def test_nearness_has_the_size_of_each_picture(make: Callable[[Path], Path], tmp_path: Path) -> None:
    depth = TransformersDepth(str(make(tmp_path / "model")))
    together = depth.estimate(IMAGES)
    for image, own in zip(IMAGES, together, strict=True):
        assert own.shape == (image.height, image.width)
        assert (own.min(), own.max()) == (0, 1)
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, depth.estimate([image])[0], atol=1e-4)


def test_dpt_sees_what_t2i_compbench_shows_it(tmp_path: Path) -> None:
    """A bilinear square from -1 to 1, min-max of the whole picture, aligned corners."""
    folder = tiny_dpt_hybrid(tmp_path / "model")
    depth = load_depth("dpt", {"model": str(folder), "size_px": 64})
    from PIL.Image import Resampling

    small = IMAGES[0].resize((64, 64), Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
    model = DPTForDepthEstimation.from_pretrained(folder).eval()
    model.dpt.embeddings.image_size = (64, 64)
    with torch.inference_mode():
        raw = model(pixels).predicted_depth
    full = torch.nn.functional.interpolate(raw[None], (40, 60), mode="bilinear", align_corners=True)[0, 0].numpy()
    expected = (full - full.min()) / (full.max() - full.min())
    np.testing.assert_allclose(depth.estimate([IMAGES[0]])[0], expected, atol=1e-4)
    assert depth.identity()["input"] == "64 x 64 px, bilinear, -1 to 1"
    with pytest.raises(UserError, match="multiple of 16"):
        load_depth("dpt", {"model": str(folder), "size_px": 50}).estimate(IMAGES[:1])


def test_a_model_of_distances_is_turned_round(tmp_path: Path) -> None:
    relative = TransformersDepth(str(tiny_depth_anything(tmp_path / "model")))
    turned = TransformersDepth(str(tmp_path / "model"), distance=True)
    np.testing.assert_allclose(turned.estimate(IMAGES[:1])[0], 1 - relative.estimate(IMAGES[:1])[0], atol=1e-5)
    metric = TransformersDepth(str(tiny_depth_anything(tmp_path / "metric", "metric")))
    assert (relative.distance, metric.distance) == (False, True)
