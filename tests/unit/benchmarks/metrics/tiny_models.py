"""Detectors and depth models of a few random weights, in folders as `from_pretrained` takes them."""

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    BitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    PreTrainedModel,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SwinConfig,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from tests.unit.benchmarks.factories import tiny_clip

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE_32 = {"height": 32, "width": 32}
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "cat", "dog", "##s", "red")


def tiny_owlv2(folder: Path) -> Path:
    context = 40
    tiny_clip(folder, context=context)  # for its tokenizer
    ids = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    config = Owlv2Config(
        text_config={**TOWER, **ids, "vocab_size": 514, "max_position_embeddings": context},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    Owlv2ImageProcessorPil(size=SQUARE_32).save_pretrained(folder)
    return _save(Owlv2ForObjectDetection, config, folder)


def tiny_grounding_dino(folder: Path) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(PIECES))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    swin = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]}
    layers = {f"{part}_layers": 2 for part in ("encoder", "decoder")}
    widths = {f"{part}_{name}": 2 * 8 for part in ("encoder", "decoder") for name in ("ffn_dim",)}
    heads = {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**swin, window_size=4, out_features=["stage2", "stage3", "stage4"]),
        text_config=BertConfig(**TOWER, vocab_size=len(PIECES)),
        **{"d_model": 32, "num_queries": 12, "num_feature_levels": 4, **layers, **widths, **heads},
    )
    GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(folder)
    return _save(GroundingDinoForObjectDetection, config, folder)


def tiny_rt_detr(folder: Path) -> Path:
    resnet = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1] * 4, "layer_type": "basic"}
    channels = {f"{part}_in_channels": [16] * 3 for part in ("encoder", "decoder")}
    sizes = {"encoder_hidden_dim": 16, "encoder_ffn_dim": 16, "d_model": 16, "decoder_ffn_dim": 16}
    heads = {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(**resnet, out_features=["stage2", "stage3", "stage4"]),
        **{"num_queries": 10, "decoder_layers": 1, "num_denoising": 0, **channels, **sizes, **heads},
        id2label={0: "cat", 1: "dog"},
    )
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return _save(RTDetrForObjectDetection, config, folder)


def tiny_dpt_hybrid(folder: Path) -> Path:
    bit = {"layer_type": "bottleneck", "depths": [1] * 3, "hidden_sizes": [8, 16, 32], "num_groups": 4}
    config = DPTConfig(
        **{**TOWER, "num_hidden_layers": 4, "image_size": 32, "is_hybrid": True, "backbone_out_indices": [0, 1, 2, 3]},
        backbone_config=BitConfig(
            **bit, global_padding="same", embedding_size=8, out_features=["stage1", "stage2", "stage3"]
        ),
        **{"neck_hidden_sizes": [8, 16, 16, 16], "fusion_hidden_size": 8, "neck_ignore_stages": [0, 1]},
        backbone_featmap_shape=[1, 32, 2, 2],
    )
    DPTImageProcessorPil(size=SQUARE_32).save_pretrained(folder)
    return _save(DPTForDepthEstimation, config, folder)


def tiny_depth_anything(folder: Path, estimation: str = "relative") -> Path:
    dino = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 1, "image_size": 28}
    stages = {"out_features": [f"stage{i}" for i in range(1, 5)], "reshape_hidden_states": False}
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(**dino, **stages, patch_size=14, apply_layernorm=True),
        **{"reassemble_hidden_size": 16, "neck_hidden_sizes": [8] * 4, "fusion_hidden_size": 8},
        **{"head_hidden_size": 8, "depth_estimation_type": estimation},
    )
    DPTImageProcessorPil(size={"height": 28, "width": 28}, ensure_multiple_of=14).save_pretrained(folder)
    return _save(DepthAnythingForDepthEstimation, config, folder)


def _save(model_class: type[PreTrainedModel], config: object, folder: Path) -> Path:
    torch.manual_seed(0)
    model = model_class(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # their own start is so small that all outputs are nearly alike
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder
