import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from llm4gen_model.training.loss import added_conditions, diffusion_loss, moments_to_latents, noise_scheduler
from tests.factories import sd15_pipeline, sdxl_pipeline, tiny_vae


def test_latents_are_a_sample_of_the_posterior() -> None:
    torch.manual_seed(0)
    moments, vae = torch.randn(8, 4, 4), tiny_vae()
    noise = torch.randn(4, 4, 4)
    posterior = DiagonalGaussianDistribution(moments[None])
    expected = (posterior.mean + posterior.std * noise)[0] * vae.config.scaling_factor
    assert torch.allclose(moments_to_latents(moments, noise, vae), expected)


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
    for name, answer in answers.items():
        losses = diffusion_loss(scheduler, answer, latents, noise, timesteps)
        assert losses.shape == (3,)
        assert (losses.max().item() < 1e-10) == (name == prediction_type)


def test_min_snr_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    scheduler = noise_scheduler(sd15_pipeline())
    predicted, latents, noise = (torch.randn(4, 4, 8, 8) for _ in range(3))
    timesteps = torch.tensor([3, 200, 500, 990])
    plain = diffusion_loss(scheduler, predicted, latents, noise, timesteps)
    weighted = diffusion_loss(scheduler, predicted, latents, noise, timesteps, snr_gamma=5.0)
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas)
    assert torch.allclose(weighted, plain * torch.minimum(snr, torch.tensor(5.0)) / snr, rtol=1e-4)  # for epsilon


def test_sdxl_gets_its_pooled_vector_and_time_ids() -> None:
    torch.manual_seed(0)
    pipeline, latents, pooled = sdxl_pipeline(), torch.randn(2, 4, 8, 8), torch.randn(2, 48)
    added = added_conditions(pipeline, pooled, latents)
    assert added is not None
    assert torch.equal(added["text_embeds"], pooled)
    assert added["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 2
    assert added_conditions(pipeline, None, latents) is None
