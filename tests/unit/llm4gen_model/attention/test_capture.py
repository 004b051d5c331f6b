from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from llm4gen_data.errors import UsageError
from llm4gen_model.attention.capture import capture_cross_attention, cross_attention_layers, to_grid
from tests import factories

N_TOKENS = 9


@pytest.fixture
def unet() -> Any:
    torch.manual_seed(0)
    return factories.tiny_unet(32, attention_head_dim=4).eval()


def inputs(seed: int = 0, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    condition = torch.randn(batch, N_TOKENS, 32, generator=generator)
    return torch.randn(batch, 4, 8, 8, generator=generator), torch.full((batch,), 500), condition


def test_layers_are_chosen_by_parts_of_their_names(unet: Any) -> None:
    everything = cross_attention_layers(unet)
    assert len(everything) == 4
    assert all(name.endswith("attn2") for name in everything)
    assert cross_attention_layers(unet, ["mid"]) == [name for name in everything if name.startswith("mid_block")]
    with pytest.raises(UsageError, match="'middle': no cross-attention layer is called so; there are down_blocks"):
        cross_attention_layers(unet, ["up", "middle"])


def test_maps_are_the_probabilities_that_the_layer_uses(unet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (layer,) = cross_attention_layers(unet, ["mid"])
    module = unet.get_submodule(layer)
    module.set_processor(AttnProcessor())  # diffusers' own softmax in the open
    used: list[torch.Tensor] = []
    scores = module.get_attention_scores

    def get_attention_scores(*args: Any) -> torch.Tensor:
        used.append(scores(*args))
        return used[-1]

    monkeypatch.setattr(module, "get_attention_scores", get_attention_scores)
    mask = torch.ones(2, N_TOKENS, dtype=torch.bool)
    mask[:, 6:] = False
    for options in ({}, {"encoder_attention_mask": mask}):
        with torch.no_grad(), capture_cross_attention(unet, [layer]) as maps:
            unet(*inputs(), **options)
        expected = used[-1].reshape(2, module.heads, *used[-1].shape[1:])
        torch.testing.assert_close(maps[layer], expected, atol=1e-5, rtol=0)
    assert float(maps[layer][..., 6:].max()) == 0
    assert to_grid(maps[layer], (8, 8)).shape == (2, module.heads, N_TOKENS, 4, 4)


def test_the_unet_computes_what_it_did_and_nothing_stays_behind(unet: Any) -> None:
    processors = dict(unet.attn_processors)
    with torch.no_grad():
        plain = unet(*inputs()).sample
        with capture_cross_attention(unet, cross_attention_layers(unet)) as maps:
            assert torch.equal(unet(*inputs()).sample, plain)
        first = {name: captured.clone() for name, captured in maps.items()}
        unet(*inputs(seed=1))
    assert len(first) == 4
    assert all(torch.equal(maps[name], captured) for name, captured in first.items())
    assert unet.attn_processors == processors


def test_a_loss_on_maps_has_the_same_gradients_under_gradient_checkpointing(unet: Any) -> None:
    layers = cross_attention_layers(unet, ["mid", "up"])
    unet.train()

    def gradients() -> tuple[list[str], dict[str, torch.Tensor]]:
        unet.zero_grad()
        sample, time, condition = inputs()
        condition.requires_grad_(True)
        with capture_cross_attention(unet, layers) as maps:
            output = unet(sample, time, condition).sample
            names = list(maps)
            loss = output.square().mean() + sum(captured[..., 3].mean() * 100 for captured in maps.values())
            loss.backward()
            assert list(maps) == names  # the second forward adds nothing
        found = {name: p.grad.clone() for name, p in unet.named_parameters() if p.grad is not None}
        assert condition.grad is not None
        return names, {**found, "condition": condition.grad}

    names, plain = gradients()
    unet.enable_gradient_checkpointing()
    again, checkpointed = gradients()
    assert names == again
    assert set(names) == set(layers)
    key = f"{layers[0]}.to_k.weight"
    assert float(plain[key].abs().max()) > 0
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-4)


def test_maps_of_odd_sizes_find_their_shape() -> None:
    flat = torch.arange(3 * 5).float()[:, None].expand(-1, 2)
    grid = to_grid(flat, (10, 20))  # halved twice, rounded up
    assert grid.shape == (2, 3, 5)
    assert torch.equal(grid[0], torch.arange(15.0).reshape(3, 5))
