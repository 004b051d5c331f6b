from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.metrics.aesthetic import HEAD_SHA256, Aesthetic, fold
from benchmarks.metrics.clip_encoder import normalised
from benchmarks.metrics.metric import load_metric
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import tiny_clip, tiny_head

PROMPT = Prompt("p", "a", "c", 1, None)


def layered(width: int = 768) -> torch.nn.Sequential:
    """The head as it was trained, in its own layers."""
    linear, dropout = torch.nn.Linear, torch.nn.Dropout
    torch.manual_seed(0)
    head = torch.nn.Sequential(
        *(linear(width, 1024), dropout(0.2), linear(1024, 128), dropout(0.2), linear(128, 64), dropout(0.1)),
        *(linear(64, 16), linear(16, 1)),
    )
    return head.eval()


def test_the_folded_head_is_the_layered_one() -> None:
    head = layered()
    weight, bias = fold({f"layers.{name}": tensor for name, tensor in head.state_dict().items()}, "head")
    embeds = torch.nn.functional.normalize(torch.randn(64, 768), dim=-1)
    with torch.inference_mode():
        expected = head(embeds)[:, 0].numpy()
    assert np.abs(embeds.numpy() @ weight + bias - expected).max() < 1e-5


def test_the_single_layer_of_the_first_version_is_taken_as_it_is() -> None:
    linear = torch.nn.Linear(8, 1)
    weight, bias = fold(linear.state_dict(), "head")
    assert weight.tolist() == linear.weight[0].tolist()
    assert bias == linear.bias.item()


def test_scores_are_of_normalised_embeddings(tmp_path: Path) -> None:
    clip, head = tiny_clip(tmp_path / "clip"), tiny_head(tmp_path / "head.pth", 8)
    metric = Aesthetic(head, str(clip))
    images = [picture(1), picture(2)]
    found = [score.value for [score] in metric.score(images, [PROMPT] * 2)]
    values = normalised(metric.encoder.encode(images)).astype(np.float64).T
    tensors = torch.load(head, weights_only=True)
    for place in (0, 2, 4, 6, 7):
        bias = tensors[f"layers.{place}.bias"].double().numpy()[:, None]
        values = tensors[f"layers.{place}.weight"].double().numpy() @ values + bias
    assert found == pytest.approx(values[0].tolist(), abs=1e-5)


def test_heads_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"sac\+logos.*is missing: fetch https://github.*sha256 {HEAD_SHA256}"):
        load_metric("aesthetic", {"head": None})
    tensors = {f"layers.{place}.{part}": torch.ones(1, 1) for place in (0, 3, 6, 9, 11) for part in ("weight", "bias")}
    with pytest.raises(UserError, match="expected layers 0, 2, 4, 6, 7, those of the head without activations"):
        fold(tensors, "ava+logos-l14-reluMSE.pth")
    good = torch.load(tiny_head(tmp_path / "head.pth", 8), weights_only=True)
    with pytest.raises(UserError, match=r"layers.2.weight of shape \[10, 11\] does not follow"):
        fold(good | {"layers.2.weight": torch.ones(10, 11)}, "head")
    with pytest.raises(UserError, match="expected one finite number"):
        fold(good | {"layers.7.bias": torch.full((1,), torch.nan)}, "head")
    metric = Aesthetic(tiny_head(tmp_path / "wide.pth", 9), str(tiny_clip(tmp_path / "clip")))
    with pytest.raises(UserError, match=r"wide.pth: a head for embeddings of 9 numbers; clip gives 8"):
        metric.score([picture(1)], [PROMPT])
