"""SD1.5, SDXL and T5-XL at full width with random weights, made from configs: the work is that of the real ones."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from llm4gen_model.llm import LanguageModel, LLMSettings
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from tests import factories

LLM_DIM, LLM_TOKENS = 2048, 256
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}


def vae(sample_size: int) -> AutoencoderKL:
    """Stable Diffusion's autoencoder, 84 million parameters."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=sample_size,
    )


def sd15_unet() -> UNet2DConditionModel:
    """859.5 million parameters."""
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def sdxl_unet() -> UNet2DConditionModel:
    """2,567.5 million parameters."""
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def pipeline(model: str, device: str, dtype: torch.dtype) -> DiffusionPipeline:
    """The stock pipeline of `sd15` or `sdxl`; its tokenizers know single letters only."""
    torch.manual_seed(0)
    networks: dict[str, torch.nn.Module] = {}
    with torch.device(device):
        networks["text_encoder"] = CLIPTextModel(CLIPTextConfig(**CLIP_L, eos_token_id=1, pad_token_id=1))
        if model == "sdxl":
            clip_g = CLIPTextConfig(**CLIP_G, projection_dim=1280, eos_token_id=1, pad_token_id=1)
            networks["text_encoder_2"] = CLIPTextModelWithProjection(clip_g)
        networks["unet"] = sd15_unet() if model == "sd15" else sdxl_unet()
        networks["vae"] = vae(512 if model == "sd15" else 1024)
    for network in networks.values():
        network.eval().requires_grad_(False).to(dtype)
    made: DiffusionPipeline
    if model == "sd15":
        made = StableDiffusionPipeline(
            **networks,
            tokenizer=factories.clip_tokenizer(77),
            scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    else:
        made = StableDiffusionXLPipeline(
            **networks,
            tokenizer=factories.clip_tokenizer(77),
            tokenizer_2=factories.clip_tokenizer(77),
            scheduler=EulerDiscreteScheduler(steps_offset=1),
            add_watermarker=False,
        )
    made.set_progress_bar_config(disable=True)
    return made


def t5_xl(device: str, dtype: str) -> LanguageModel:
    """RankGen's encoder, 1.2 billion parameters, used as the release does: "pre ", 256 padded tokens."""
    torch.manual_seed(1)
    config = T5Config(d_model=LLM_DIM, d_kv=64, d_ff=5120, num_layers=24, num_heads=32, feed_forward_proj="gated-gelu")
    with torch.device(device):
        model = T5EncoderModel(config)
    return LastHiddenStates(
        "t5-xl",
        model.eval().requires_grad_(False).to(getattr(torch, dtype)),
        factories.bert_tokenizer(LLM_TOKENS),
        start_ids=[],
        end_ids=[1],
        settings=LLMSettings(max_tokens=LLM_TOKENS, dtype=dtype, prefix="pre ", pad=True),  # type: ignore[arg-type]
        files={},
    )
