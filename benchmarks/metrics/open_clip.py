"""CLIP checkpoints in open_clip's layout (HPSv2) on transformers' CLIP: names translated, none skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage
from PIL import ImageOps
from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.clip_encoder import ClipEncoder
from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file

if TYPE_CHECKING:
    import numpy as np
    import torch

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
# open_clip's names -> transformers', in this order
NAMES = (
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
)
# In transformers a linear layer, in open_clip a matrix that is multiplied from the right.
PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
IN_PROJECTION = ".attn.in_proj_"


class OpenClipEncoder(ClipEncoder):
    """`model` is a file of weights, `processor` a folder or hub id with CLIP's tokenizer.

    Sizes are read from the tensors; heads are `n_heads` in both towers (16 in ViT-H/14). Pictures are fitted to the
    longest side by Pillow's bicubic filter and padded with black, as HPSv2 does with tensors. Raises UserError for a
    file that cannot be read safely or is not whole.
    """

    n_heads = 16

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        processor: str | None = None,
    ) -> None:
        self.file, self.dtype, self.device, self.processor = Path(model), dtype, device, processor
        self._texts = {}

    def identity(self) -> dict[str, Any]:
        """The weights by sha256."""
        return {
            "model": self.model,
            "weights": self._sha256,
            "tokenizer": self.processor,
            "preprocessing": "longest side by Pillow bicubic, padded with black, OpenAI's mean and std",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    @property
    def model(self) -> str:
        """The file's name."""
        return self.file.name

    @cached_property
    def _sha256(self) -> str:
        return sha256_file(self.file)

    @cached_property
    def logit_scale(self) -> float:
        """What the model was trained to multiply cosines with."""
        return float(self._clip.logit_scale.exp())

    @cached_property
    def _config(self) -> Any:
        return self._clip.config

    @cached_property
    def _vision(self) -> Any:
        from transformers import CLIPVisionModelWithProjection

        tower = CLIPVisionModelWithProjection(self._config.vision_config)
        tower.vision_model, tower.visual_projection = self._clip.vision_model, self._clip.visual_projection
        return tower.eval()

    @cached_property
    def _text(self) -> Any:
        from transformers import CLIPTextModelWithProjection

        tower = CLIPTextModelWithProjection(self._config.text_config)
        tower.text_model, tower.text_projection = self._clip.text_model, self._clip.text_projection
        self._refuse_other_end_token()
        return tower.eval()

    @cached_property
    def _clip(self) -> Any:
        import torch

        from llm4gen_model.checkpoints import read_tensors

        clip = clip_from_open_clip(read_tensors(self.file), str(self.file), self.n_heads)
        return clip.to(self.device, getattr(torch, self.dtype)).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.processor)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.processor}: no CLIP tokenizer ({type(error).__name__}); give a folder") from error

    def _processor(self, images: Sequence[Image], return_tensors: str) -> dict[str, torch.Tensor]:
        import numpy as np
        import torch

        size = self._config.vision_config.image_size
        shown = [ImageOps.pad(image, (size, size), PILImage.Resampling.BICUBIC, color=(0, 0, 0)) for image in images]
        pixels = np.stack([_normalised_pixels(image) for image in shown])
        return {"pixel_values": torch.from_numpy(pixels)}


def _normalised_pixels(image: Image) -> np.ndarray:
    import numpy as np

    mean, std = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
    pixels: np.ndarray = ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    return pixels


def clip_from_open_clip(tensors: Mapping[str, Any], origin: str, n_heads: int) -> Any:
    """transformers' CLIPModel in float32 from open_clip's state dict, or the file's dict that holds it.

    Raises UserError, led by `origin`, for tensors that are missing, of another shape, or of no such model.
    """
    from transformers import CLIPConfig, CLIPModel

    from llm4gen_model.checkpoints import fill

    if isinstance(tensors.get("state_dict"), Mapping):
        tensors = tensors["state_dict"]
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}
    tensors.pop("attn_mask", None)  # the causal mask, which is no weight
    needed = ("visual.conv1.weight", "visual.positional_embedding", "positional_embedding", "token_embedding.weight")
    for name in (*needed, "text_projection"):
        if name not in tensors:
            raise UserError(f"{origin}: lacks {name}; expected a CLIP checkpoint of open_clip")
    width, _, _, patch = tensors["visual.conv1.weight"].shape
    n_words, text_width = tensors["token_embedding.weight"].shape
    vision = {
        "hidden_size": width,
        "intermediate_size": len(tensors.get("visual.transformer.resblocks.0.mlp.c_fc.bias", ())) or 4 * width,
        "num_hidden_layers": _depth(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
        "image_size": patch * round((len(tensors["visual.positional_embedding"]) - 1) ** 0.5),
        "patch_size": patch,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": len(tensors.get("transformer.resblocks.0.mlp.c_fc.bias", ())) or 4 * text_width,
        "num_hidden_layers": _depth(tensors, r"transformer\.resblocks\.(\d+)\."),
        "max_position_embeddings": len(tensors["positional_embedding"]),
        "vocab_size": n_words,
        # the last two words of the vocabulary; the embedding is taken at the end token
        **{"bos_token_id": n_words - 2, "eos_token_id": n_words - 1, "pad_token_id": 0},
    }
    shared = {
        "num_attention_heads": n_heads,
        "hidden_act": "gelu",
        "projection_dim": tensors["text_projection"].shape[1],
    }
    config = CLIPConfig(
        text_config=text | shared, vision_config=vision | shared, projection_dim=shared["projection_dim"]
    )
    clip = CLIPModel(config)
    fill(clip, _translated(tensors), origin)
    return clip


def _translated(tensors: Mapping[str, Any]) -> dict[str, Any]:
    translated: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if name in PROJECTIONS:
            translated[PROJECTIONS[name]] = tensor.T
            continue
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if IN_PROJECTION in name:
            layer, _, part = name.partition(IN_PROJECTION)
            for one, own in zip("qkv", tensor.chunk(3), strict=True):
                translated[f"{layer}.self_attn.{one}_proj.{part}"] = own
        else:
            translated[name] = tensor
    return translated


def _depth(tensors: Mapping[str, Any], pattern: str) -> int:
    return 1 + max((int(found[1]) for name in tensors if (found := re.match(pattern, name))), default=-1)
