"""One prompt drawn, and where the UNet looked for each of its words while it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F

from llm4gen_data.errors import UsageError
from llm4gen_data.runs import atomic_path
from llm4gen_model.attention.capture import capture_cross_attention, cross_attention_layers, to_grid
from llm4gen_model.attention.config import AttentionConfig
from llm4gen_model.attention.picture import draw_attention
from llm4gen_model.attention.words import Span, Word, find_words, token_rows
from llm4gen_model.connectors import is_one_to_one
from llm4gen_model.generate.loading import load_for
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.models import Model


@dataclass(frozen=True, slots=True)
class Look:
    """Where one encoder's tokens of a word are looked at; `heat` None: that encoder never read the word.

    `heat` [H, W] is the share of a place's attention that the tokens get, averaged over heads, layers and steps;
    `share` is its mean.
    """

    heat: torch.Tensor | None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One encoder's row of the picture: its name and a Look for every word."""

    encoder: str
    looks: list[Look]


def attention(config: AttentionConfig, out: Path) -> None:
    """Draw `config.prompt` and write the image with its words' attention maps to the PNG file `out`.

    Raises UserError for a model that cannot be had, and UsageError for words or layers that are not there.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {str(out)!r}: expected a file name that ends in .png")
    model = load_for(config.model, config.drawing())
    words = find_words(model.prompt_encoder.plain_text(config.prompt), config.words)
    image, readings = look(model, config, words)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        draw_attention(model.name, config.prompt, image, words, readings).save(temporary, format="PNG")
    layers = cross_attention_layers(model.pipeline.unet, config.layers)
    print(f"{out}: {len(words)} words, {len(layers)} layers, {config.num_inference_steps} steps")


def look(model: Model, config: AttentionConfig, words: Sequence[Word]) -> tuple[Image.Image, list[Reading]]:
    """The image of the prompt, and a Reading for each encoder: first the text encoder, then the language model."""
    encoder, unet = model.prompt_encoder, model.pipeline.unet
    with torch.no_grad():
        embeds = encoder.encode([config.prompt], [config.negative_prompt], cam_scale=config.cam_scale)
    sums: dict[str, torch.Tensor] = {}
    steps: list[tuple[int, int]] = []  # a latent size for each: a scheduler may take more than it is asked for

    with capture_cross_attention(unet, cross_attention_layers(unet, config.layers)) as maps:

        def add_step(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
            steps.append(tuple(values["latents"].shape[-2:]))
            for name, layer in maps.items():
                # the last of the batch: under guidance the negative prompt stands before it
                sums[name] = sums.get(name, 0) + layer[-1].mean(dim=0).cpu()
            return values

        (image,) = sample_images(
            model.pipeline,
            embeds,
            [config.seed],
            num_inference_steps=config.num_inference_steps,
            guidance_scale=config.guidance_scale,
            height=config.height,
            width=config.width,
            connector=encoder.cam,
            step_arguments={"callback_on_step_end": add_step},
        )
    layers = [to_grid(total / len(steps), steps[0]) for total in sums.values()]
    text_spans = encoder.text_token_spans(config.prompt)
    n_tokens = layers[0].shape[0]
    spans: dict[str, list[Span | None]] = {"CLIP": text_spans}
    if encoder.llm is not None and encoder.cam is not None and is_one_to_one(encoder.cam):
        spans[encoder.llm.name] = encoder.llm.token_spans(encoder.plain_text(config.prompt))
    readings, first = [], 0
    for name, encoder_spans in spans.items():
        rows = [[first + row for row in token_rows(word, encoder_spans) if first + row < n_tokens] for word in words]
        readings.append(Reading(name, [_look(layers, tokens) for tokens in rows]))
        first += len(encoder_spans)
    return image, readings


def _look(layers: Sequence[torch.Tensor], tokens: Sequence[int]) -> Look:
    if not tokens:
        return Look(None)
    heats = [layer[list(tokens)].sum(dim=0) for layer in layers]
    size = max(heat.shape for heat in heats)
    enlarged = [F.interpolate(heat[None, None], size=size, mode="bilinear")[0, 0] for heat in heats]
    return Look(torch.stack(enlarged).mean(dim=0), float(torch.stack([heat.mean() for heat in heats]).mean()))
