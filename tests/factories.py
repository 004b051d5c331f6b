"""Everything a test needs, made on the spot: pictures, folders of pictures, Parquet, tars."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from llm4gen_data.parquet import IMAGE


def picture(number: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A picture that no other number gives."""
    image = Image.new("RGB", size, ((37 * number) % 256, (91 * number + 40) % 256, (number // 7) % 256))
    ImageDraw.Draw(image).rectangle((4, 4, 8 + number % 20, 20), fill=((number * 13) % 256, 200, 30))
    return image


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def image_folder(folder: Path, n: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (folder / f"{i:05d}.png").write_bytes(encode(picture(i)))
    return folder


def image_parquet(path: Path, n: int, **columns: list[object]) -> Path:
    """Rows of key, image struct, url and alt_text, and any further columns; written in row groups of 50."""
    table = pa.table(
        {
            "key": [f"{i:06d}" for i in range(n)],
            "url": [f"http://example.org/{i}.png" for i in range(n)],
            "alt_text": [f"picture {i}" for i in range(n)],
            "image": pa.array([{"bytes": encode(picture(i)), "path": None} for i in range(n)], IMAGE),
            **columns,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=50)
    return path


def image_tar(path: Path, n: int) -> Path:
    """A WebDataset tar of png + txt + json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i in range(n):
            parts = {
                "png": encode(picture(i)),
                "txt": f"picture {i}".encode(),
                "json": b'{"url": "http://example.org/%d"}' % i,
            }
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def clip_tokenizer(length: int = 24) -> Any:
    """A CLIP tokenizer over single letters: context of `length` tokens, no merges."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=length
    )


def clip_text_config(width: int = 32, length: int = 24) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=190,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=length,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def tiny_vae() -> Any:
    """16-pixel images to 8x8x4 latents."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
    )


def tiny_unet(cross_attention_dim: int, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        **options,
    )


def sd15_pipeline(seed: int = 0) -> Any:
    """An SD1.5-shaped pipeline with random weights: text width 32, 24 tokens, images of 16 pixels."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=tiny_vae().eval(),
        text_encoder=CLIPTextModel(clip_text_config()).eval(),
        tokenizer=clip_tokenizer(),
        unet=tiny_unet(32, attention_head_dim=4).eval(),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sdxl_pipeline(seed: int = 0) -> Any:
    """An SDXL-shaped pipeline with random weights: two text encoders, 32 and 48 wide, pooled embeds 48 wide."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    unet = tiny_unet(
        80,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=48 + 6 * 8,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=tiny_vae().eval(),
        text_encoder=CLIPTextModel(clip_text_config(32)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_text_config(48)).eval(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(steps_offset=1),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def bert_tokenizer(length: int = 64) -> Any:
    """A BERT tokenizer over single letters: context of `length` tokens."""
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=length)


def language_model(max_tokens: int = 12, seed: int = 0) -> Any:
    """A language model 20 wide with random weights: a BERT behind `llm.LanguageModel`."""
    import torch
    from transformers import BertConfig, BertModel

    from llm4gen_model.llm import LLMSettings
    from llm4gen_model.llms.last_hidden_states import LastHiddenStates

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=200,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=40,
        max_position_embeddings=64,
    )
    model = BertModel(config).eval()
    settings = LLMSettings(max_tokens=max_tokens)
    return LastHiddenStates(
        "tiny", model, bert_tokenizer(), start_ids=[2], end_ids=[3], settings=settings, files={"seed": str(seed)}
    )


def cam(text_dim: int, llm_dim: int = 20, seed: int = 0) -> Any:
    """A Cross-Adapter Module with fresh weights."""
    import torch

    from llm4gen_model.cam import CrossAdapterModule

    torch.manual_seed(seed)
    return CrossAdapterModule(text_dim=text_dim, llm_dim=llm_dim, num_heads=4).eval()


def cam_model(name: str, seed: int = 0) -> Any:
    """An SD1.5-shaped `models.Model` with a CAM and random weights."""
    from llm4gen_model.conditioning import PromptEncoder
    from llm4gen_model.models import Model

    pipeline = sd15_pipeline(seed)
    encoder = PromptEncoder.from_pipeline(pipeline, llm=language_model(seed=seed), cam=cam(32, seed=seed))
    return Model(name, pipeline, encoder, {"seed": seed})


def pairs_parquet(path: Path, n: int) -> Path:
    """Rows in LAION-refined's layout: pictures with a short and a longer caption."""
    import hashlib

    images = [encode(picture(i, (24, 20))) for i in range(n)]
    table = pa.table(
        {
            "key": [f"{i:06d}" for i in range(n)],
            "sha256": [hashlib.sha256(image).hexdigest() for image in images],
            "image": pa.array([{"bytes": image, "path": None} for image in images], IMAGE),
            "alt_text": [f"picture {i}" if i % 3 else None for i in range(n)],
            "caption": [f"a picture with number {i} on a ground of its own" for i in range(n)],
            "status": ["success"] * n,
            "keep": [True] * n,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def connector(name: str, text_dim: int = 32, llm_dim: int = 20, seed: int = 0, **options: Any) -> Any:
    """A connector of `connectors.CONNECTORS` with fresh weights of which none is zero; resamplers have 2 layers."""
    import torch

    from llm4gen_data.registry import resolve
    from llm4gen_model.connectors import CONNECTORS

    torch.manual_seed(seed)
    sizes = {
        "cam": {"num_heads": 4},
        "mlp": {},
        "ella": {"num_heads": 4, "num_layers": 2, "num_latents": 5},
        "resampler": {"num_heads": 4, "num_layers": 2, "num_latents": 5},
    }
    made = resolve("connector", name, CONNECTORS)(text_dim=text_dim, llm_dim=llm_dim, **sizes[name] | options)
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval()


def t5_tokenizer() -> Any:
    """T5's tokenizer over a few words and single letters."""
    from transformers import T5Tokenizer

    letters = [(chr(code), -3.0) for code in range(33, 127)]
    words = [(f"▁{word}", -1.0) for word in ("pre", "a", "red", "blue", "cube", "ball")]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*specials, *letters, *words], extra_ids=0, model_max_length=512)


def rankgen_folder(folder: Path, width: int = 20, seed: int = 0) -> Path:
    """A T5 encoder with random weights as RankGen's hub repositories hold one, with a tokenizer beside it."""
    import json

    import torch
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(t5_tokenizer()),
        d_model=width,
        d_kv=10,
        d_ff=40,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    encoder = T5EncoderModel(config)
    weights = {f"t5_encoder.{key}": value for key, value in encoder.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({**weights, "projection.weight": torch.randn(width, width)}, folder / "pytorch_model.bin")
    about = {
        **config.to_dict(),
        "architectures": ["T5EncoderWithProjection"],
        "auto_map": {"AutoModel": "rankgen_hub.T5EncoderWithProjection"},
    }
    (folder / "config.json").write_text(json.dumps(about, default=str))
    t5_tokenizer().save_pretrained(folder)
    return folder


def released_folder(folder: Path, text_dim: int = 32, llm_dim: int = 20, seed: int = 0) -> Path:
    """The authors' layout: `projector.pth`, a bare state dict, and `unet/`; every weight random, no bias zero."""
    import torch

    from llm4gen_model.cam import CrossAdapterModule

    torch.manual_seed(seed)
    released = CrossAdapterModule(text_dim=text_dim, llm_dim=llm_dim, num_heads=8)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value + 0.1 * torch.randn_like(value) for key, value in released.state_dict().items()}
    torch.save(state, folder / "projector.pth")
    tiny_unet(text_dim, attention_head_dim=4).save_pretrained(folder / "unet")
    return folder
