"""Contact sheets: pictures enlarged, with a number and coordinates, and without a word on what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from llm4gen_data.runs import atomic_path, make_folder
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, SceneObject
from llm4gen_data.scenes.vocabulary import COLORS, FRAME_PX, LARGE_RADII_PX, SHAPES, SMALL_RADII_PX, TEXTURES

SCALE = 5
N_COLUMNS, PER_SHEET = 5, 20
MARGIN_PX = 26
TICKS_PX = range(0, FRAME_PX + 1, 16)
CROSS_PX = 3
INK, FAINT = (0, 0, 0), (120, 120, 120)

Tile = tuple[str, Image.Image]


def write_sheets(pictures: Sequence[Tile], folder: Path) -> list[Path]:
    """`key.png`, drawings of every shape, size, texture and colour by name, and `sheet-01.png` ... of the pictures."""
    make_folder(folder)
    files = [_write(_key(), folder / "key.png")]
    for start in range(0, len(pictures), PER_SHEET):
        files.append(_write(pictures[start : start + PER_SHEET], folder / f"sheet-{len(files):02d}.png"))
    return files


def _write(tiles: Sequence[Tile], path: Path) -> Path:
    side = FRAME_PX * SCALE + MARGIN_PX
    n_rows = -(-len(tiles) // N_COLUMNS)
    sheet = Image.new("RGB", (N_COLUMNS * side + MARGIN_PX // 2, n_rows * side + MARGIN_PX // 2), "white")
    for i, (name, image) in enumerate(tiles):
        row, column = divmod(i, N_COLUMNS)
        _draw_tile(sheet, name, image, column * side + MARGIN_PX, row * side + MARGIN_PX)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def _draw_tile(sheet: Image.Image, name: str, image: Image.Image, left: int, top: int) -> None:
    """The picture with its upper left corner at `left`, `top`; ticks along the rim, small crosses where they meet."""
    side = FRAME_PX * SCALE
    sheet.paste(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), (left, top))
    draw, small, bold = ImageDraw.Draw(sheet), ImageFont.load_default(11), ImageFont.load_default(16)
    draw.text((left - MARGIN_PX + 2, top - 2), name, fill=INK, font=bold, anchor="ls")
    for tick in TICKS_PX[1:-1]:
        at = tick * SCALE
        draw.text((left + at, top - 4), str(tick), fill=FAINT, font=small, anchor="ms")
        draw.text((left - 4, top + at), str(tick), fill=FAINT, font=small, anchor="rm")
        for other in TICKS_PX[1:-1]:
            x, y = left + at, top + other * SCALE
            draw.line((x - CROSS_PX, y, x + CROSS_PX, y), fill=FAINT)
            draw.line((x, y - CROSS_PX, x, y + CROSS_PX), fill=FAINT)


def _key() -> list[Tile]:
    """What is meant by each word: every shape large and small, every texture and colour on a large object."""
    named = [
        *((f"{shape}, large and small", (shape, "teal", "solid")) for shape in SHAPES),
        *((texture, ("circle", "orange", texture)) for texture in TEXTURES),
        *((color, ("square", color, "solid")) for color in COLORS),
    ]
    return [(name, render(Scene(0, "gray", _large_and_small(*kind)))) for name, kind in named]


def _large_and_small(shape: str, color: str, texture: str) -> tuple[SceneObject, ...]:
    middle = FRAME_PX / 2
    large = SceneObject(shape, color, texture, "large", 20.0, middle, LARGE_RADII_PX[1])
    return large, SceneObject(shape, color, texture, "small", 48.0, middle, SMALL_RADII_PX[1])
