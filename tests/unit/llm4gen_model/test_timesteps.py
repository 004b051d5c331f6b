from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
)

from llm4gen_model.conditioning import PromptEmbeds, PromptEncoder
from llm4gen_model.timesteps import fuse, fused_per_step, pack
from tests import factories

PROMPTS, NEGATIVES = ["a red cube", "two dogs on a hill"], ["blur", ""]
GUIDANCE = 3.0


def ella_on(pipeline: Any, **options: Any) -> PromptEncoder:
    text_dim = pipeline.unet.config.cross_attention_dim
    ella = factories.connector("ella", text_dim=text_dim, mask_padding=True, **options)
    return PromptEncoder.from_pipeline(pipeline, llm=factories.language_model(), cam=ella)


def draw(pipeline: Any, encoder: PromptEncoder, embeds: PromptEmbeds, **kwargs: Any) -> torch.Tensor:
    options = {"num_inference_steps": 4, "guidance_scale": GUIDANCE, "output_type": "latent", **kwargs}
    assert encoder.cam is not None
    with fused_per_step(pipeline, encoder.cam):
        return pipeline(**embeds.as_kwargs(), **options).images  # type: ignore[no-any-return]


def by_hand(
    pipeline: Any, encoder: PromptEncoder, n_images: int, denoise: Callable[..., torch.Tensor] | None = None
) -> torch.Tensor:
    """The denoising loop as a textbook has it, the connector called at every step."""
    pipeline.scheduler.set_timesteps(4)
    latents: torch.Tensor = start_latents(n_images) * pipeline.scheduler.init_noise_sigma
    signs = [encoder.inputs(prompts) for prompts in (NEGATIVES, PROMPTS)]
    with torch.no_grad():
        for t in pipeline.scheduler.timesteps:
            noise = []
            for inputs in signs:
                condition = encoder.fuse(inputs, timestep=t, scale=0.5).repeat_interleave(n_images, 0)
                scaled = pipeline.scheduler.scale_model_input(latents, t)
                noise.append(pipeline.unet(scaled, t, condition).sample)
            guided = noise[0] + GUIDANCE * (noise[1] - noise[0])
            latents = pipeline.scheduler.step(guided, t, latents).prev_sample
    return latents


def start_latents(n_images: int) -> torch.Tensor:
    return torch.randn(2 * n_images, 4, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "heun"])  # the last two call the UNet twice for some timesteps
def test_a_stock_pipeline_equals_a_loop_by_hand(scheduler: str, n_images: int) -> None:
    pipeline = factories.sd15_pipeline().to(torch.float64)  # so that rounding cannot hide what is wrong
    if scheduler != "ddim":
        other = {"pndm": PNDMScheduler, "heun": HeunDiscreteScheduler}[scheduler]
        pipeline.scheduler = other.from_config(pipeline.scheduler.config)
    encoder = ella_on(pipeline)
    encoder.cam.double()  # type: ignore[union-attr]
    embeds = encoder.encode(PROMPTS, NEGATIVES, cam_scale=0.5)
    images = draw(pipeline, encoder, embeds, num_images_per_prompt=n_images, latents=start_latents(n_images))
    torch.testing.assert_close(images, by_hand(pipeline, encoder, n_images), atol=1e-9, rtol=1e-9)


def test_sdxl_keeps_its_pooled_embeds() -> None:
    pipeline = factories.sdxl_pipeline()
    encoder = ella_on(pipeline)
    embeds = encoder.encode(PROMPTS, NEGATIVES)
    seen = []
    pipeline.unet.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    images = draw(pipeline, encoder, embeds, height=16, width=16, generator=torch.Generator().manual_seed(1))
    assert images.isfinite().all()
    assert embeds.pooled_prompt_embeds is not None
    assert torch.equal(seen[0]["added_cond_kwargs"]["text_embeds"][2:], embeds.pooled_prompt_embeds)


@pytest.mark.parametrize("guess_mode", [False, True])
def test_controlnet_gets_the_same_condition(guess_mode: bool) -> None:
    base = factories.sd15_pipeline()
    torch.manual_seed(2)
    controlnet = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 16)).eval()
    pipeline = StableDiffusionControlNetPipeline.from_pipe(base, controlnet=controlnet)
    pipeline.set_progress_bar_config(disable=True)
    encoder = ella_on(pipeline)
    inner: dict[str, list[torch.Tensor]] = {"unet": [], "controlnet": []}
    with fused_per_step(pipeline, encoder.cam):  # type: ignore[arg-type]
        for name, calls in inner.items():
            getattr(pipeline, name).register_forward_pre_hook(
                lambda module, args, kwargs, calls=calls: calls.append(kwargs["encoder_hidden_states"]),
                with_kwargs=True,
            )
        pipeline(
            **encoder.encode(PROMPTS, NEGATIVES).as_kwargs(),
            image=torch.rand(2, 3, 16, 16),
            num_inference_steps=2,
            guess_mode=guess_mode,
            output_type="latent",
        )
    pairs = list(zip(inner["unet"], inner["controlnet"], strict=True))
    assert len(pairs) == 2
    for unet, control in pairs:
        torch.testing.assert_close(unet[2:] if guess_mode else unet, control)
    assert not torch.allclose(inner["unet"][0], inner["unet"][1])  # another timestep, another condition


def test_img2img_starts_at_its_own_timestep() -> None:
    pipeline = StableDiffusionImg2ImgPipeline.from_pipe(factories.sd15_pipeline())
    pipeline.set_progress_bar_config(disable=True)
    encoder = ella_on(pipeline)
    at: list[float] = []
    assert encoder.cam is not None
    encoder.cam.register_forward_pre_hook(
        lambda module, args, kwargs: at.append(float(kwargs["timestep"])), with_kwargs=True
    )
    draw(pipeline, encoder, encoder.encode(PROMPTS, NEGATIVES), image=torch.rand(2, 3, 16, 16), strength=0.5)
    assert at == [float(t) for t in pipeline.scheduler.timesteps[2:]]


def test_embeds_without_llm_tokens_pass_untouched() -> None:
    pipeline = factories.sd15_pipeline()
    encoder = ella_on(pipeline)
    dropped = encoder.encode(PROMPTS, NEGATIVES, drop_llm_tokens=True)
    plain = PromptEncoder.from_pipeline(pipeline).encode(PROMPTS, NEGATIVES)
    images = [draw(pipeline, encoder, embeds, latents=start_latents(1).float()) for embeds in (dropped, plain)]
    assert torch.equal(*images)
    assert not pipeline.unet._forward_pre_hooks


@pytest.mark.parametrize("llm_dim", [20, 48])  # narrower and wider than the text
def test_fuse_undoes_pack(llm_dim: int) -> None:
    ella = factories.connector("ella", llm_dim=llm_dim, mask_padding=True)
    text, llm, t = torch.randn(2, 7, 32), torch.randn(2, 6, llm_dim), torch.tensor(500)
    mask = torch.tensor([[True] * 2 + [False] * 4, [True] * 6])
    with torch.no_grad():
        assert torch.equal(fuse(ella, pack(text, llm, mask, 0.25), t), ella(text, llm, 0.25, mask, timestep=t))
