"""The attention picture: the image, and beside it a heat map for each word and each encoder that read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from llm4gen_model.attention.words import Word
from llm4gen_model.generate.grid import INK, LINE_PIXELS, MARGIN_PIXELS, PAPER, text_font, wrapped

if TYPE_CHECKING:
    from llm4gen_model.attention.run import Look, Reading

CELL_PIXELS = 144
GAP_PIXELS = 6
IMAGE_PIXELS = 320
LABEL_PIXELS = 78
WORDS_PER_BAND = 8
BAND_GAP_PIXELS = 18
SMALL_FONT_PIXELS = 12
PALE, GREY = "#f1f1f1", "#8a8a8a"
COLORS = "inferno"
# Of a map's pixel, heat shows over the image in grey by so much: where nobody looks, and where most look.
OPACITY = (0.35, 0.9)


def draw_attention(
    title: str, prompt: str, image: Image.Image, words: Sequence[Word], readings: Sequence[Reading]
) -> Image.Image:
    """The picture as RGB: the image with its prompt on the left, then bands of words with a row a reading.

    Each map has its own scale from its least to its greatest value; the number under it is the share of all
    attention that the word's tokens get. A word that an encoder never read is said to be so.
    """
    per_band = min(WORDS_PER_BAND, len(words))
    n_bands = -(-len(words) // per_band)
    row_height = CELL_PIXELS + LINE_PIXELS
    band_height = LINE_PIXELS + len(readings) * row_height
    left = 2 * MARGIN_PIXELS + IMAGE_PIXELS + MARGIN_PIXELS
    width = left + LABEL_PIXELS + per_band * (CELL_PIXELS + GAP_PIXELS) - GAP_PIXELS + MARGIN_PIXELS
    text = wrapped(prompt, text_font(), IMAGE_PIXELS)
    height = 2 * MARGIN_PIXELS + max(
        n_bands * band_height + (n_bands - 1) * BAND_GAP_PIXELS,
        LINE_PIXELS + IMAGE_PIXELS + (len(text) + 1) * LINE_PIXELS,
    )
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PIXELS, MARGIN_PIXELS), wrapped(title, text_font(), IMAGE_PIXELS)[0], INK, text_font())
    shown = _scaled(image, IMAGE_PIXELS)
    top = MARGIN_PIXELS + LINE_PIXELS
    sheet.paste(shown, (MARGIN_PIXELS + (IMAGE_PIXELS - shown.width) // 2, top))
    for number, line in enumerate(text):
        draw.text((MARGIN_PIXELS, top + shown.height + 8 + number * LINE_PIXELS), line, INK, text_font())
    for number, word in enumerate(words):
        band, column = divmod(number, per_band)
        x = left + LABEL_PIXELS + column * (CELL_PIXELS + GAP_PIXELS)
        y = MARGIN_PIXELS + band * (band_height + BAND_GAP_PIXELS)
        name = wrapped(word.text, text_font(), CELL_PIXELS)[0]
        draw.text((x + CELL_PIXELS / 2, y), name, INK, text_font(), anchor="ma")
        for row, reading in enumerate(readings):
            cell_top = y + LINE_PIXELS + row * row_height
            if column == 0:
                lines = wrapped(reading.encoder, text_font(), LABEL_PIXELS - GAP_PIXELS)
                draw.text((left, cell_top + CELL_PIXELS / 2), "\n".join(lines), INK, text_font(), anchor="lm")
            _draw_look(sheet, draw, (x, cell_top), image, reading.looks[number], reading.encoder)
    return sheet


def _draw_look(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    image: Image.Image,
    look: Look,
    encoder: str,
) -> None:
    x, y = corner
    small = text_font(SMALL_FONT_PIXELS)
    if look.heat is None:
        draw.rectangle((x, y, x + CELL_PIXELS - 1, y + CELL_PIXELS - 1), fill=PALE)
        middle = (x + CELL_PIXELS / 2, y + CELL_PIXELS / 2)
        lines = wrapped(f"not seen by {encoder}", small, CELL_PIXELS - 2 * GAP_PIXELS)
        draw.text(middle, "\n".join(lines), GREY, small, anchor="mm", align="center")
        return
    cell = overlay(_scaled(image, CELL_PIXELS), look.heat.numpy())
    sheet.paste(cell, (x + (CELL_PIXELS - cell.width) // 2, y + (CELL_PIXELS - cell.height) // 2))
    draw.text((x + CELL_PIXELS / 2, y + CELL_PIXELS + 2), f"{look.share:.1%}", GREY, small, anchor="ma")


def overlay(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """The image in grey under `heat` [H, W] in colours from its least to its greatest value, smoothed to its size."""
    low, high = float(heat.min()), float(heat.max())
    scaled = Image.fromarray(((heat - low) / max(high - low, 1e-12)).astype(np.float32))
    values = np.asarray(scaled.resize(image.size, Image.Resampling.BICUBIC)).clip(0, 1)
    colors = matplotlib.colormaps[COLORS](values)[..., :3] * 255
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * values)[..., None]
    return Image.fromarray((colors * opacity + grey * (1 - opacity)).round().astype(np.uint8))


def _scaled(image: Image.Image, pixels: int) -> Image.Image:
    """As large as a square of `pixels` allows; small images keep their pixels square."""
    factor = pixels / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, how)
