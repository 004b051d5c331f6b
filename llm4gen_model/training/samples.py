"""What a model in training draws for a few prompts, always from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm4gen_data.runs import atomic_path
from llm4gen_model.generate.grid import draw_grid
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.models import Model
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Pairs


def sample_prompts(config: TrainConfig, pairs: Pairs) -> list[str]:
    """The prompts of the configuration, or captions from all over the data."""
    if config.validation_prompts:
        return list(config.validation_prompts)
    texts = pairs.texts()
    n = min(config.num_validation_images, len(texts))
    return [texts[i * len(texts) // n] for i in range(n)]


def sample_grid(config: TrainConfig, model: Model, prompts: Sequence[str], path: Path) -> None:
    """Draw one image a prompt, seed `config.seed`, and write them as one picture."""
    embeds = model.prompt_encoder.encode(list(prompts))
    images = sample_images(
        model.pipeline,
        embeds,
        [config.seed] * len(prompts),
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as temporary:
        draw_grid([""], list(prompts), [[image] for image in images]).save(temporary, format="PNG")
