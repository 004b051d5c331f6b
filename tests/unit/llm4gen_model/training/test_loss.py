import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from llm4gen_model.training.loss import diffusion_loss, moments_to_latents, noise_scheduler
from tests.factories import sd15_pipeline, sdxl_pipeline, tiny_vae


def test_latents_are_a_sample_of_the_posterior() -> None:
    torch.manual_seed(0)
    moments, vae = torch.randn(8, 4, 4), tiny_vae()
    noise = torch.randn(4, 4, 4)
    posterior = DiagonalGaussianDistribution(moments[None])
    expected = (posterior.mean + posterior.std * noise)[0] * vae.config.scaling_factor
    assert torch.allclose(moments_to_latents(moments, noise, vae), expected)


class Knowing(torch.nn.Module):
    """A UNet that answers what it is given."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_: object, **__: object) -> object:
        return type("Output", (), {"sample": self.answer})()


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_right_answer_costs_nothing(prediction_type: str) -> None:
    torch.manual_seed(0)
    pipeline = sd15_pipeline()
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type=prediction_type)
    latents, noise, timesteps = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999])
    scheduler = noise_scheduler(pipeline)
    alpha = scheduler.alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - scheduler.alphas_cumprod[timesteps]).sqrt().view(-1, 1, 1, 1)
    answers = {"epsilon": noise, "v_prediction": alpha * noise - sigma * latents, "sample": latents}
    context = torch.zeros(3, 5, 32)
    for name, answer in answers.items():
        pipeline.unet = Knowing(answer)
        loss = diffusion_loss(pipeline, scheduler, latents, noise, timesteps, context, None)
        assert (loss.item() < 1e-10) == (name == prediction_type)


def test_min_snr_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    pipeline = sd15_pipeline()
    latents, noise, timesteps = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.tensor([3, 200, 500, 990])
    context, scheduler = torch.zeros(4, 5, 32), noise_scheduler(pipeline)
    with torch.no_grad():
        plain = [
            diffusion_loss(
                pipeline, scheduler, latents[i : i + 1], noise[i : i + 1], timesteps[i : i + 1], context[:1], None
            )
            for i in range(4)
        ]
        weighted = diffusion_loss(pipeline, scheduler, latents, noise, timesteps, context, None, snr_gamma=5.0)
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas)
    weights = torch.minimum(snr, torch.tensor(5.0)) / snr  # for epsilon
    assert weighted.item() == pytest.approx((weights * torch.stack(plain)).mean().item(), rel=1e-4)


def test_sdxl_gets_its_pooled_vector_and_time_ids() -> None:
    torch.manual_seed(0)
    pipeline = sdxl_pipeline()
    arguments = (torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 5, 80))
    with torch.no_grad():
        one = diffusion_loss(pipeline, noise_scheduler(pipeline), *arguments, torch.zeros(2, 48))
        other = diffusion_loss(pipeline, noise_scheduler(pipeline), *arguments, torch.ones(2, 48))
    assert torch.isfinite(one)
    assert one != other
