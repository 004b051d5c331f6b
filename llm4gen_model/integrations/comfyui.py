"""Custom nodes for ComfyUI: ComfyUI's own CLIP reads the prompt, a language model reads it too, the CAM fuses both.

Installed by one line in ComfyUI's `custom_nodes` folder, see docs/comfyui.md. All that composes on the CLIP side
(LoRA, prompt weights, embeddings, clip skip, prompts beyond 77 tokens) is ComfyUI's and stays so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm4gen_data.errors import UserError
from llm4gen_model.family import BUNDLED

if TYPE_CHECKING:
    from llm4gen_model.conditioning import PromptEncoder

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

# ComfyUI's CONDITIONING: pairs of text embeds [B, T, D] and what belongs to them ("pooled_output", hooks, areas, ...)
Conditioning = list[list[Any]]

MODEL_FOLDER = "llm4gen"  # under ComfyUI/models
MODEL_FILES = ("llm4gen.json", "projector.pth")  # as in layouts.py, whose imports would hold up ComfyUI's start
BUNDLED_MODEL = "cam-mini"

SCALE_INPUT = (
    "FLOAT",
    {
        "default": 1.0,
        "min": 0.0,
        "max": 4.0,
        "step": 0.05,
        "tooltip": "Multiplies the language model's tokens. 0 makes them zeros, which still draw attention: to draw "
        "without a language model, leave this node out.",
    },
)
LLM_TEXT_TOOLTIP = "What the language model reads. Empty: the same text, without ComfyUI's weights."


class LLM4GENLoader:
    """A CAM and its language model from a folder in ComfyUI/models/llm4gen."""

    CATEGORY = "LLM4GEN"
    FUNCTION = "load"
    RETURN_TYPES = ("LLM4GEN",)
    DESCRIPTION = (
        "Loads a CAM and its language model. The UNet that belongs to them is loaded by ComfyUI itself: "
        "Load Diffusion Model."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract: the inputs by kind, each a type or a list of choices, and its options."""
        return {
            "required": {
                "model": (list(model_folders()), {"tooltip": "Folders in ComfyUI/models/llm4gen."}),
                "device": (
                    ["default", "cpu"],
                    {"tooltip": "Where the language model computes: ComfyUI's text encoder device, or the processor."},
                ),
                "llm_dtype": (
                    ["as trained", "float32", "bfloat16", "float16"],
                    {"tooltip": "Another type than the CAM was trained with changes the pictures."},
                ),
                "offload": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Keep the language model in main memory but while it encodes."},
                ),
            }
        }

    def load(
        self,
        model: str,
        device: str,
        llm_dtype: Literal["as trained", "float32", "bfloat16", "float16"],
        offload: bool,
    ) -> tuple[PromptEncoder]:
        """The prompt encoder that fuses what ComfyUI's CLIP read. Raises UserError for an unknown or unfit model."""
        from llm4gen_model.conditioning import PromptEncoder
        from llm4gen_model.models import load_connector

        folders = model_folders()
        # A workflow comes with any picture that is dropped into ComfyUI: it may name what is listed, no other path.
        if model not in folders:
            raise UserError(f"model {model!r}: no such folder in ComfyUI/models/{MODEL_FOLDER}: found {list(folders)}")
        cam, llm = load_connector(
            folders[model],
            device=text_encoder_device() if device == "default" else device,
            llm_dtype=None if llm_dtype == "as trained" else llm_dtype,
            offload=offload,
        )
        if cam.uses_timestep:
            raise UserError(f"model {model!r}: a {type(cam).__name__} has to run at every step: not in ComfyUI")
        return (PromptEncoder([], [], llm, cam),)


class LLM4GENTextEncode:
    """A prompt through ComfyUI's CLIP and the language model."""

    CATEGORY = "LLM4GEN"
    FUNCTION = "encode"
    RETURN_TYPES = ("CONDITIONING",)
    DESCRIPTION = "CLIP Text Encode with a language model beside it. Use it for the negative prompt too."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract: the inputs by kind, each a type or a list of choices, and its options."""
        return {
            "required": {
                "llm4gen": ("LLM4GEN",),
                "clip": ("CLIP",),
                "text": ("STRING", {"multiline": True, "dynamicPrompts": True}),
            },
            "optional": {
                "llm_text": (
                    "STRING",
                    {"multiline": True, "dynamicPrompts": True, "default": "", "tooltip": LLM_TEXT_TOOLTIP},
                ),
                "cam_scale": SCALE_INPUT,
            },
        }

    def encode(
        self, llm4gen: PromptEncoder, clip: Any, text: str, llm_text: str = "", cam_scale: float = 1.0
    ) -> tuple[Conditioning]:
        """The conditioning of `text`. Raises UserError where CLIP is missing or of another width than the CAM's."""
        if clip is None:
            raise UserError("no CLIP: the checkpoint that it comes from holds no text encoder")
        conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
        return (fuse(llm4gen, conditioning, llm_text or text_without_weights(text), cam_scale),)


class LLM4GENApply:
    """The language model's tokens behind a conditioning that any other node made."""

    CATEGORY = "LLM4GEN"
    FUNCTION = "apply"
    RETURN_TYPES = ("CONDITIONING",)
    DESCRIPTION = "For conditionings of other text nodes (SDXL's with sizes, other weight syntaxes)."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract: the inputs by kind, each a type or a list of choices, and its options."""
        return {
            "required": {
                "llm4gen": ("LLM4GEN",),
                "conditioning": ("CONDITIONING",),
                "llm_text": ("STRING", {"multiline": True, "dynamicPrompts": True}),
                "cam_scale": SCALE_INPUT,
            }
        }

    def apply(
        self, llm4gen: PromptEncoder, conditioning: Conditioning, llm_text: str, cam_scale: float
    ) -> tuple[Conditioning]:
        """The conditioning with fused tokens. Raises UserError where it is of another width than the CAM's."""
        return (fuse(llm4gen, conditioning, llm_text, cam_scale),)


NODE_CLASS_MAPPINGS = {
    "LLM4GENLoader": LLM4GENLoader,
    "LLM4GENTextEncode": LLM4GENTextEncode,
    "LLM4GENApply": LLM4GENApply,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "LLM4GENLoader": "Load LLM4GEN",
    "LLM4GENTextEncode": "LLM4GEN Text Encode",
    "LLM4GENApply": "Apply LLM4GEN",
}


def fuse(encoder: PromptEncoder, conditioning: Conditioning, llm_text: str, cam_scale: float) -> Conditioning:
    """`conditioning` with the language model's tokens for `llm_text` behind every entry's text tokens; all else stays.

    Raises UserError where the conditioning is of another width than the CAM was made for.
    """
    import torch

    from llm4gen_model.prompt_embeds import FusionInputs

    assert encoder.cam is not None
    assert encoder.llm is not None
    # ComfyUI's UNets take no mask; where padding is to be masked it is not made in the first place, which is the same.
    n_tokens = len(encoder.llm.token_spans(llm_text)) if encoder.cam.config.mask_padding else None
    llm_embeds = encoder.llm_embeds([llm_text], n_tokens)
    fused: Conditioning = []
    for text_embeds, extras in conditioning:
        if text_embeds.shape[-1] != encoder.cam.config.text_dim:
            raise UserError(
                f"the CAM was made for text encoders {encoder.cam.config.text_dim} wide, "
                f"this conditioning is {text_embeds.shape[-1]} wide"
            )
        inputs = FusionInputs(text_embeds, llm_embeds.expand(len(text_embeds), -1, -1))
        with torch.no_grad():
            fused.append([encoder.fuse(inputs, scale=cam_scale), extras.copy()])
    return fused


_WEIGHTED = re.compile(r"\(([^()]*?)(?::\s*[-+]?(?:\d++\.?\d*+|\.\d++)\s*)?\)")


def text_without_weights(text: str) -> str:
    r"""`text` without ComfyUI's markup: `(red:1.2)` and `(red)` become `red`, `\(` becomes `(`, `embedding:` goes."""
    plain = text.replace(r"\(", "\0").replace(r"\)", "\1").replace("embedding:", "")
    while (inner := _WEIGHTED.sub(r"\1", plain)) != plain:
        plain = inner
    return plain.replace("\0", "(").replace("\1", ")")


def model_folders() -> dict[str, Path]:
    """The models that can be loaded, by name: folders in ComfyUI/models/llm4gen, and the bundled miniature."""
    folders: dict[str, Path] = {}
    for root in _model_roots():
        for path in sorted(root.glob("*")):
            if any((path / name).is_file() for name in MODEL_FILES):
                folders.setdefault(path.name, path)
    return {**folders, BUNDLED_MODEL: BUNDLED / BUNDLED_MODEL}


def _model_roots() -> list[Path]:
    try:
        import folder_paths  # type: ignore[import-not-found]  # ComfyUI's
    except ImportError:
        return []
    if MODEL_FOLDER not in folder_paths.folder_names_and_paths:  # extra_model_paths.yaml may have put it there
        folder_paths.add_model_folder_path(MODEL_FOLDER, str(Path(folder_paths.models_dir) / MODEL_FOLDER))
    return [Path(folder) for folder in folder_paths.get_folder_paths(MODEL_FOLDER)]


def text_encoder_device() -> str:
    """Where ComfyUI wants text encoders to compute; the processor outside ComfyUI."""
    try:
        from comfy import model_management  # type: ignore[import-not-found]
    except ImportError:
        return "cpu"
    return str(model_management.text_encoder_device())
