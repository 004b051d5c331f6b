"""A picture of pictures: a row a prompt, a column a model, the prompt under its row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

CELL_PIXELS = 256
MARGIN_PIXELS = 12
FONT_PIXELS = 15
LINE_PIXELS = 20
MAX_LINES = 12
# More prompts are laid side by side in strips if one strip were higher than so many times its width.
MAX_STRIP_PROMPTS, MAX_HEIGHT_TO_WIDTH = 6, 2
INK, PAPER = "#202020", "#ffffff"


def draw_grid(columns: Sequence[str], prompts: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """The grid as an RGB image; `images` holds a row a prompt, each as long as `columns`.

    Many prompts stand in several strips side by side, to be read down and then to the right. Small pictures are
    enlarged by a whole factor without smoothing, large ones shrunk.
    """
    if len(prompts) <= MAX_STRIP_PROMPTS:
        return _strip(columns, prompts, images)
    for n_strips in range(1, len(prompts) + 1):
        n = math.ceil(len(prompts) / n_strips)
        starts = range(0, len(prompts), n)
        strips = [_strip(columns, prompts[start : start + n], images[start : start + n]) for start in starts]
        width, height = sum(strip.width for strip in strips), max(strip.height for strip in strips)
        if height <= MAX_HEIGHT_TO_WIDTH * width:
            break
    sheet = Image.new("RGB", (width, height), PAPER)
    for number, strip in enumerate(strips):
        sheet.paste(strip, (number * strip.width, 0))
    return sheet


def _strip(columns: Sequence[str], prompts: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> Image.Image:
    font = text_font()
    width = MARGIN_PIXELS + len(columns) * (CELL_PIXELS + MARGIN_PIXELS)
    texts = [wrapped(prompt, font, width - 2 * MARGIN_PIXELS) for prompt in prompts]
    row_heights = [CELL_PIXELS + (len(lines) + 1) * LINE_PIXELS for lines in texts]
    sheet = Image.new("RGB", (width, 2 * MARGIN_PIXELS + LINE_PIXELS + sum(row_heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [MARGIN_PIXELS + i * (CELL_PIXELS + MARGIN_PIXELS) for i in range(len(columns))]
    for left, name in zip(lefts, columns, strict=True):
        draw.text((left, MARGIN_PIXELS), wrapped(name, font, CELL_PIXELS)[0], INK, font)
    top = 2 * MARGIN_PIXELS + LINE_PIXELS
    for row, lines, height in zip(images, texts, row_heights, strict=True):
        for left, image in zip(lefts, row, strict=True):
            cell = fitted(image)
            offset = ((CELL_PIXELS - cell.width) // 2, (CELL_PIXELS - cell.height) // 2)
            sheet.paste(cell, (left + offset[0], top + offset[1]))
        for number, line in enumerate(lines):
            draw.text((MARGIN_PIXELS, top + CELL_PIXELS + 4 + number * LINE_PIXELS), line, INK, font)
        top += height
    return sheet


def fitted(image: Image.Image) -> Image.Image:
    """The image as large as a cell allows: by a whole factor if it is smaller, so that its pixels stay square."""
    image = image.convert("RGB")
    factor = CELL_PIXELS // max(image.size)
    if factor >= 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((CELL_PIXELS, CELL_PIXELS), Image.Resampling.LANCZOS)
    return image


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, at most MAX_LINES; what is left out shows as an ellipsis."""
    lines = [""]
    for word in text.split() or [""]:
        while font.getlength(word) > width:
            word = word[:-2] + "…" if word[-1] == "…" else word[:-1] + "…"
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"{lines[MAX_LINES - 1].rsplit(' ', 1)[0]} …"]
    return lines


def text_font(pixels: int = FONT_PIXELS) -> ImageFont.FreeTypeFont:
    """The font of our pictures."""
    # matplotlib carries this font on every system; Pillow's own knows few letters beyond Latin
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), pixels)
