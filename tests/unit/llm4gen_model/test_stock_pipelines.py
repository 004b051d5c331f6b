"""The encoder's embeds in every stock pipeline: each draws with them, and without LLM tokens draws as ever."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from peft import LoraConfig

from llm4gen_model.conditioning import PromptEncoder
from tests import factories

KINDS: dict[str, Any] = {"sd15": factories.sd15_pipeline, "sdxl": factories.sdxl_pipeline}
PICTURE = torch.linspace(0, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
MASK = torch.eye(16).reshape(1, 1, 16, 16)


def text_to_image(kind: str) -> tuple[Any, dict[str, Any]]:
    return KINDS[kind](), {"height": 16, "width": 16}


def image_to_image(kind: str) -> tuple[Any, dict[str, Any]]:
    return AutoPipelineForImage2Image.from_pipe(KINDS[kind]()), {"image": PICTURE, "strength": 0.7}


def inpainting(kind: str) -> tuple[Any, dict[str, Any]]:
    options = {"image": PICTURE, "mask_image": MASK, "strength": 1.0, "height": 16, "width": 16}
    return AutoPipelineForInpainting.from_pipe(KINDS[kind]()), options


def controlnet(kind: str) -> tuple[Any, dict[str, Any]]:
    base = KINDS[kind]()
    torch.manual_seed(2)
    control = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 16)).eval()
    for parameter in control.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # its zero convolutions would hide it
    classes: dict[str, Any] = {"sd15": StableDiffusionControlNetPipeline, "sdxl": StableDiffusionXLControlNetPipeline}
    options = {"image": PICTURE} | ({"height": 16, "width": 16} if kind == "sdxl" else {})
    return classes[kind].from_pipe(base, controlnet=control), options


def ip_adapter(kind: str) -> tuple[Any, dict[str, Any]]:
    pipeline = KINDS[kind]()
    torch.manual_seed(3)
    width, n_tokens, image_width = pipeline.unet.config.cross_attention_dim, 4, 12
    weights = {}
    for number, name in enumerate(name for name in pipeline.unet.attn_processors if "attn2" in name):
        attention = pipeline.unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            weights[f"{2 * number + 1}.{part}.weight"] = torch.randn(attention.inner_dim, width)
    projection = {
        "proj.weight": torch.randn(width * n_tokens, image_width),
        "proj.bias": torch.zeros(width * n_tokens),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    pipeline.unet._load_ip_adapter_weights(
        [{"image_proj": projection, "ip_adapter": weights}], low_cpu_mem_usage=False
    )
    options = {"ip_adapter_image_embeds": [torch.randn(2, 1, image_width)], "height": 16, "width": 16}
    return pipeline, options


def lora(kind: str) -> tuple[Any, dict[str, Any]]:
    pipeline = KINDS[kind]()
    torch.manual_seed(4)
    pipeline.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"]))
    pipeline.text_encoder.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["q_proj", "v_proj"]))
    return pipeline, {"height": 16, "width": 16}


PIPELINES = [text_to_image, image_to_image, inpainting, controlnet, ip_adapter, lora]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", PIPELINES)
def test_it_draws_with_llm_tokens_and_without_them_as_ever(make: Any, kind: str) -> None:
    pipeline, options = make(kind)
    pipeline.set_progress_bar_config(disable=True)
    llm = factories.language_model()
    width = pipeline.unet.config.cross_attention_dim
    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.connector("cam", text_dim=width))
    plain = draw(pipeline, prompt="a red cube", negative_prompt="blurry", **options)
    fused = draw(pipeline, **encoder.encode(["a red cube"], ["blurry"]).as_kwargs(), **options)
    dropped = draw(pipeline, **encoder.encode(["a red cube"], ["blurry"], drop_llm_tokens=True).as_kwargs(), **options)
    assert fused.shape == (1, 16, 16, 3)
    assert np.isfinite(fused).all()
    assert np.abs(fused - plain).max() > 1e-4
    np.testing.assert_allclose(dropped, plain, atol=1e-5)


def draw(pipeline: Any, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return pipeline(generator=generator, num_inference_steps=3, output_type="np", **options).images
