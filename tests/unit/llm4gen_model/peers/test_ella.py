import math

import pytest
import torch

from llm4gen_data.errors import UserError
from tests import factories

HEADS, LATENTS, WIDTH = 4, 5, 32


def by_the_book(state: dict[str, torch.Tensor], llm: torch.Tensor, timestep: float) -> torch.Tensor:
    """The connector in plain tensor maths: one text, one head at a time."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def silu(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + torch.exp(-x))

    angles = timestep * torch.exp(-math.log(10_000) * torch.arange(160, dtype=torch.float64) / 160)
    sinusoids = torch.cat([angles.cos(), angles.sin()])
    time = linear("time_embedding.linear_2", silu(linear("time_embedding.linear_1", sinusoids)))

    def ada_norm(name: str, x: torch.Tensor) -> torch.Tensor:
        modulation = linear(f"{name}.linear", silu(time))
        shift, scale = modulation[:WIDTH], modulation[WIDTH:]
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(variance + 1e-6) * (1 + scale) + shift

    latents = state["resampler.latents"] + linear("resampler.time_proj", silu(time))
    features = linear("resampler.proj_in", llm)
    for layer in range(2):
        block = f"resampler.blocks.{layer}"
        query = ada_norm(f"{block}.latent_norm", latents)
        seen = torch.cat([query, ada_norm(f"{block}.feature_norm", features)])
        weight, bias = state[f"{block}.attention.in_proj_weight"], state[f"{block}.attention.in_proj_bias"]
        q, k, v = (
            x @ weight[i * WIDTH : (i + 1) * WIDTH].T + bias[i * WIDTH : (i + 1) * WIDTH]
            for i, x in enumerate((query, seen, seen))
        )
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = torch.exp(q[:, part] @ k[:, part].T / (WIDTH / HEADS) ** 0.5)
            heads.append(scores / scores.sum(-1, keepdim=True) @ v[:, part])
        latents = latents + linear(f"{block}.attention.out_proj", torch.cat(heads, dim=-1))
        hidden = linear(f"{block}.feed_forward.0", ada_norm(f"{block}.norm", latents)).clamp(min=0) ** 2
        latents = latents + linear(f"{block}.feed_forward.2", hidden)
    return latents


def test_forward_equals_the_described_arithmetic() -> None:
    ella = factories.connector("ella")
    text, llm = torch.randn(2, 7, WIDTH), torch.randn(2, 6, 20)
    with torch.no_grad():
        output = ella(text, llm, timestep=torch.tensor([981, 1]))
    state = {key: value.double() for key, value in ella.state_dict().items()}
    for row, timestep in enumerate((981.0, 1.0)):
        expected = by_the_book(state, llm[row].double(), timestep)
        assert expected.shape == (LATENTS, WIDTH)
        assert (output[row, 7:] - expected).abs().max() < 1e-5 * expected.abs().max()


def test_one_timestep_serves_a_whole_batch() -> None:
    ella, text, llm = factories.connector("ella"), torch.randn(2, 7, WIDTH), torch.randn(2, 6, 20)
    with torch.no_grad():
        each = ella(text, llm, timestep=torch.tensor([500, 500]))
        assert torch.equal(ella(text, llm, timestep=torch.tensor(500)), each)
        assert not torch.allclose(ella(text, llm, timestep=torch.tensor(0)), each)


def test_without_a_timestep_it_is_refused() -> None:
    with pytest.raises(UserError, match="needs a timestep"):
        factories.connector("ella")(torch.randn(1, 7, WIDTH), torch.randn(1, 6, 20))
