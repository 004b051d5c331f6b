"""Full-width models with random weights and synthetic batches, for `tests.performance.train --device cuda`."""

import statistics
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.models import Model
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.loader import Batch, encode_captions
from llm4gen_model.training.loop import prepare, take_step
from llm4gen_model.training.loss import noise_scheduler
from llm4gen_model.training.trained import build_denoiser
from tests.factories import clip_tokenizer

N_LLM_TOKENS, LLM_WIDTH = 256, 2048
H100_TFLOP_PER_S = 989.4
# SDXL's published unet/config.json
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@dataclass(frozen=True, slots=True)
class Size:
    """A model at a resolution; `train_tflop` an image at 333 tokens (3 x forward, docs/performance.md)."""

    is_sdxl: bool
    resolution: int
    train_tflop: float


SIZES = {
    "sd15-256": Size(False, 256, 0.579),
    "sd15-512": Size(False, 512, 2.475),
    "sdxl-512": Size(True, 512, 5.370),
    "sdxl-1024": Size(True, 1024, 21.13),
}


def full_width(
    train: str, size_name: str, batch_size: int, n_rounds: int, *, compile: bool, checkpointing: bool
) -> None:
    """Images/s and MFU of our step; bf16 over float32 weights, channels last, EMA every tenth step."""
    size = SIZES[size_name]
    torch.backends.cudnn.benchmark = True
    config = TrainConfig(
        data=Path("synthetic"),
        out=Path("synthetic"),
        train=train,  # type: ignore[arg-type]
        train_batch_size=batch_size,
        mixed_precision="bf16",
        channels_last=True,
        compile=compile,
        gradient_checkpointing=checkpointing,
        ema_interval=10,
        learning_rate=1e-6,
        device="cuda",
    )
    accelerator = Accelerator(mixed_precision="bf16")
    model = random_model(size)
    wrapped, state = prepare(config, accelerator, build_denoiser(config, model))
    scheduler = noise_scheduler(model.pipeline)
    batch = synthetic_batch(size, batch_size, uses_llm=config.uses_llm)
    batches = (with_text(config, model, batch) for _ in count())  # the text encoders run in every step
    taken = []
    for step in range(1, n_rounds + 11):
        began = time.perf_counter()
        take_step(config, accelerator, model, wrapped, scheduler, state, batches, step)
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    median = statistics.median(taken[10:])
    rate = batch_size / median
    tflop = size.train_tflop * (4 / 3 if checkpointing else 1)
    print(
        f"{torch.cuda.get_device_name()}: {size_name}, train {train}, batch {batch_size}, compile {compile}, "
        f"checkpointing {checkpointing}: {1000 * median:.0f} ms a step, {rate:.1f} images/s, "
        f"MFU {100 * rate * size.train_tflop / H100_TFLOP_PER_S:.1f} % of an H100's {H100_TFLOP_PER_S} TFLOP/s "
        f"({rate * tflop:.0f} TFLOP/s computed), {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    )


def random_model(size: Size) -> Model:
    """SD1.5 or SDXL at full width on the GPU, random weights, the VAE of the tests."""
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    clip_l = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
    with torch.device("cuda"):
        unet = UNet2DConditionModel(**SDXL_UNET) if size.is_sdxl else UNet2DConditionModel(cross_attention_dim=768)
        cam = CrossAdapterModule(text_dim=2048 if size.is_sdxl else 768, llm_dim=LLM_WIDTH)
    if size.is_sdxl:
        clip_g = CLIPTextConfig(
            hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280
        )
        pipeline = StableDiffusionXLPipeline(
            vae=vae,
            text_encoder=clip_l,
            text_encoder_2=CLIPTextModelWithProjection(clip_g),
            tokenizer=clip_tokenizer(77),
            tokenizer_2=clip_tokenizer(77),
            unet=unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
    else:
        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=clip_l,
            tokenizer=clip_tokenizer(77),
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    encoder = PromptEncoder.from_pipeline(pipeline.to("cuda"))
    encoder.cam = cam  # its language model is never asked: features are given
    return Model("random", pipeline, encoder, {})


def with_text(config: TrainConfig, model: Model, batch: Batch) -> Batch:
    """The batch as `load_batch` leaves it."""
    text_embeds, pooled = encode_captions(config, model, batch.captions)
    return replace(batch, text_embeds=text_embeds, pooled_text_embeds=pooled)


def synthetic_batch(size: Size, batch_size: int, *, uses_llm: bool) -> Batch:
    """A batch as the loader gives it, without text embeds."""
    side = size.resolution // 8
    return Batch(
        captions=["a picture of some words that say little"] * batch_size,
        latents=torch.randn(batch_size, 4, side, side, device="cuda"),
        noise=torch.randn(batch_size, 4, side, side, device="cuda"),
        timesteps=torch.randint(0, 1000, (batch_size,), device="cuda"),
        llm_embeds=torch.randn(batch_size, N_LLM_TOKENS, LLM_WIDTH, device="cuda") if uses_llm else None,
    )
