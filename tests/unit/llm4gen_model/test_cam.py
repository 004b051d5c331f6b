from pathlib import Path

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.cam import CrossAdapterModule
from tests import factories

LINEAR = ("llm_proj", "q_proj", "k_proj", "v_proj", "out_proj", "FFN.0", "FFN.2")
NORMS = ("q_norm", "kv_norm", "norm")


def by_the_book(state: dict[str, torch.Tensor], clip: torch.Tensor, llm: torch.Tensor, n_heads: int) -> torch.Tensor:
    """The released forward pass, step by step in plain tensor maths, one head and one text at a time."""
    weights = {key.removeprefix("CrossFusionModule.0."): value for key, value in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    outputs = []
    for c_text, c_llm in zip(clip, llm, strict=True):
        l_tokens = linear("llm_proj", c_llm)
        text_normed, llm_normed = norm("q_norm", c_text), norm("kv_norm", l_tokens)
        query, key, value = linear("q_proj", llm_normed), linear("k_proj", text_normed), linear("v_proj", text_normed)
        width = query.shape[-1] // n_heads
        heads = []
        for head in range(n_heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / width**0.5
            heads.append(torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True) @ value[:, part])
        l_tokens = linear("out_proj", torch.cat(heads, dim=-1)) + l_tokens
        hidden = linear("FFN.0", norm("norm", l_tokens))
        l_tokens = linear("FFN.2", hidden / (1 + torch.exp(-1.702 * hidden))) + l_tokens
        outputs.append(torch.cat([c_text, l_tokens]))
    return torch.stack(outputs)


def test_layout_is_that_of_the_released_checkpoint() -> None:
    cam = CrossAdapterModule()
    state = cam.state_dict()
    assert set(state) == {
        f"CrossFusionModule.0.{name}.{kind}" for name in (*LINEAR, *NORMS) for kind in ("weight", "bias")
    }
    assert sum(tensor.numel() for tensor in state.values()) == 8_663_040
    assert state["CrossFusionModule.0.llm_proj.weight"].shape == (768, 2048)
    assert state["CrossFusionModule.0.FFN.0.weight"].shape == (3072, 768)
    assert state["CrossFusionModule.0.FFN.2.weight"].shape == (768, 3072)


def test_forward_equals_the_released_arithmetic() -> None:
    torch.manual_seed(1)
    cam = CrossAdapterModule(text_dim=24, llm_dim=20, num_heads=3)
    for parameter in cam.parameters():  # so that no bias is zero and no norm is the identity
        parameter.data += 0.3 * torch.randn_like(parameter)
    text, llm = torch.randn(2, 7, 24), torch.randn(2, 5, 20)
    with torch.no_grad():
        output = cam(text, llm)
    expected = by_the_book(
        {key: value.double() for key, value in cam.state_dict().items()}, text.double(), llm.double(), 3
    )
    assert output.shape == (2, 12, 24)
    assert torch.equal(output[:, :7], text)
    assert (output - expected).abs().max() < 1e-6 * expected.abs().max()
    with torch.no_grad():
        assert torch.equal(cam(text, llm, scale=0.5)[:, 7:], 0.5 * output[:, 7:])


def test_sdxl_is_as_wide_as_both_text_encoders() -> None:
    cam = CrossAdapterModule(text_dim=768 + 1280)
    assert sum(parameter.numel() for parameter in cam.parameters()) == 54_558_720  # 54.6M
    with torch.no_grad():
        assert cam(torch.randn(1, 77, 2048), torch.randn(1, 8, 2048)).shape == (1, 85, 2048)


def test_initialisation_is_the_released_one() -> None:
    torch.manual_seed(0)
    block = CrossAdapterModule(text_dim=256, llm_dim=64, num_heads=8).CrossFusionModule[0]
    for projection in (block.q_proj, block.k_proj, block.v_proj, block.out_proj):
        assert 0.0195 < projection.weight.std() < 0.0205
    # the framework's default: uniform within 1 / sqrt(n_inputs)
    assert block.llm_proj.weight.abs().max() <= 64**-0.5
    assert block.llm_proj.weight.std().item() == pytest.approx(64**-0.5 / 3**0.5, rel=0.05)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    cam = factories.cam(32)
    cam.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    loaded = CrossAdapterModule.from_pretrained(tmp_path)
    assert dict(loaded.config)["llm_dim"] == 20
    assert all(torch.equal(a, b) for a, b in zip(cam.parameters(), loaded.parameters(), strict=True))
    text, llm = torch.randn(1, 4, 32), torch.randn(1, 3, 20)
    assert torch.equal(cam(text, llm), loaded(text, llm))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="text_dim 30 cannot be split into 8 heads"):
        CrossAdapterModule(text_dim=30, llm_dim=20, num_heads=8)
