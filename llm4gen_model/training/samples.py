"""What a model in training draws for a few prompts, always from the same noise, beside what its base draws."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from llm4gen_data.runs import atomic_path, read_json, write_json
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.generate.grid import draw_grid
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.models import Model
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Pairs

BASE = "base"
# Beside a training's memory there is no room for many large pictures.
MAX_PIXELS_AT_ONCE = 2**21


def sample_prompts(config: TrainConfig, pairs: Pairs) -> list[str]:
    """The prompts of the configuration, or captions from all over the data."""
    if config.validation_prompts:
        return list(config.validation_prompts)
    texts = pairs.texts()
    n = min(config.num_validation_images, len(texts))
    return [texts[i * len(texts) // n] for i in range(n)]


def describe_samples(config: TrainConfig, encoder: PromptEncoder, prompts: Sequence[str]) -> dict[str, Any]:
    """What `samples/about.json` says: the prompts, how many characters of each CLIP reads, how they are drawn."""
    clip_ends = [
        max((span[1] for span in encoder.text_token_spans(prompt) if span is not None), default=0)
        for prompt in prompts
    ]
    about = {
        "prompts": list(prompts),
        "clip_ends": clip_ends,
        "seed": config.seed,
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": config.guidance_scale,
    }
    return dict(json.loads(json.dumps(about)))


def begin_samples(folder: Path, about: dict[str, Any]) -> bool:
    """Make `folder` hold samples as `about` says; those drawn otherwise go. Whether the base's are there already."""
    file = folder / "about.json"
    if not file.exists() or read_json(file) != about:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(file, about)
    return (folder / BASE / f"{len(about['prompts']) - 1}.png").exists()


def draw_samples(config: TrainConfig, model: Model, encoder: PromptEncoder, folder: Path) -> None:
    """Draw one image for each prompt of `about.json` beside `folder`, seed `config.seed`; write `0.png`, `1.png`..."""
    prompts = read_json(folder.parent / "about.json")["prompts"]
    side = model.pipeline.unet.config.sample_size * model.pipeline.vae_scale_factor
    at_once = max(1, MAX_PIXELS_AT_ONCE // side**2)
    folder.mkdir(exist_ok=True)
    for start in range(0, len(prompts), at_once):
        some = prompts[start : start + at_once]
        with torch.no_grad():
            embeds = encoder.encode(some)
        images = sample_images(
            model.pipeline,
            embeds,
            [config.seed] * len(some),
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            connector=encoder.cam,
        )
        for number, image in enumerate(images, start=start):
            with atomic_path(folder / f"{number}.png") as temporary:
                image.save(temporary, format="PNG")


def read_samples(folder: Path) -> list[Image.Image]:
    """The images of a folder, in the order of the prompts."""
    n = len(read_json(folder.parent / "about.json")["prompts"])
    return [Image.open(folder / f"{number}.png") for number in range(n)]


def sample_grid(folder: Path, step: int) -> Image.Image:
    """Write `STEP.png`, the samples of a step beside the base's, and return it."""
    name = f"{step:08d}"
    rows = [list(row) for row in zip(read_samples(folder / BASE), read_samples(folder / name), strict=True)]
    prompts = read_json(folder / "about.json")["prompts"]
    grid = draw_grid([BASE, f"step {step:,}"], prompts, rows)
    with atomic_path(folder / f"{name}.png") as temporary:
        grid.save(temporary, format="PNG")
    return grid


def sampled_steps(folder: Path) -> list[int]:
    """The steps whose samples are all there."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.png"))
