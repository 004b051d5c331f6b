"""What stands in every PNG about how it was drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from PIL import Image, PngImagePlugin

from llm4gen_data.errors import UserError

# As in Parquet files of this project: all of it, as JSON.
KEY = "llm4gen"
# The form that viewers of diffusion images read: the prompt, the negative prompt, and one line of settings.
VIEWER_KEY = "parameters"


def png_info(about: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    """The text chunks of an image; `about` holds JSON values, among them what `viewer_text` shows."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, json.dumps(about, ensure_ascii=True))
    info.add_text(VIEWER_KEY, viewer_text(about))
    return info


def viewer_text(about: Mapping[str, Any]) -> str:
    """The text under `parameters`, as stable-diffusion-webui writes it."""
    lines = [about.get("upsampled_prompt") or about["prompt"]]
    if about.get("negative_prompt"):
        lines.append(f"Negative prompt: {about['negative_prompt']}")
    width, height = about["size"]
    settings = {
        "Steps": about["num_inference_steps"],
        "Sampler": about["scheduler"],
        "CFG scale": about["guidance_scale"],
        "Seed": about["seed"],
        "Size": f"{width}x{height}",
        "Model": about["model"],
        "Version": f"llm4gen {about['versions'].get('llm4gen', 'unknown')}",
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return "\n".join(line.replace("\0", " ") for line in lines)


def read_about(image: Image.Image) -> dict[str, Any]:
    """What `png_info` wrote into an opened PNG. Raises UserError for an image that carries nothing of ours."""
    try:
        about = json.loads(image.info[KEY])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{getattr(image, 'filename', '') or 'image'}: carries no llm4gen metadata") from error
    if not isinstance(about, dict):
        raise UserError(f"{getattr(image, 'filename', '') or 'image'}: its llm4gen metadata is not an object")
    return about
