"""Draw a scene: polygons filled and textured on a canvas several times finer, then averaged down."""

from PIL import Image, ImageDraw

from llm4gen_data.scenes.outlines import outline
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, COLORS, FRAME_PX

# Textures in units of the object's radius; at radius 8 px the finest detail is still about 2 px wide.
STRIPE_PERIOD, STRIPE_WIDTH = 0.58, 0.27
DOT_SPACING, DOT_RADIUS = 0.56, 0.17
CHECK_CELL = 0.44
RIM_WIDTH = 0.21


def render(scene: Scene, size_px: int = FRAME_PX) -> Image.Image:
    """The picture of a scene as an RGB image of `size_px` by `size_px`; equal scenes give equal pixels."""
    fineness = max(2, 512 // size_px)
    canvas_px = size_px * fineness
    zoom = canvas_px / FRAME_PX
    canvas = draw_background(scene.background, canvas_px)
    for o in scene.objects:
        center, radius = (o.x * zoom, o.y * zoom), o.radius * zoom
        half_px = int(radius) + 2
        left, top = int(center[0]) - half_px, int(center[1]) - half_px
        mask, marks = draw_masks(o.shape, o.texture, (center[0] - left, center[1] - top), radius, 2 * half_px)
        main, mark = COLORS[o.color], mark_color(o.color)
        inked = Image.composite(Image.new("RGB", mask.size, mark), Image.new("RGB", mask.size, main), marks)
        canvas.paste(inked, (left, top), mask)
    return canvas.reduce(fineness)


def mark_color(color: str) -> tuple[int, int, int]:
    """The shade of a texture's marks: darker than the object, only on black and white a middle gray."""
    if color == "black":
        return (114, 114, 118)
    if color == "white":
        return (118, 118, 124)
    r, g, b = COLORS[color]
    return (int(r * 0.36), int(g * 0.36), int(b * 0.36))


def draw_background(name: str, canvas_px: int) -> Image.Image:
    """The background alone, as an RGB image of `canvas_px` by `canvas_px`."""
    background = BACKGROUNDS[name]
    canvas = Image.new("RGB", (canvas_px, canvas_px), background.first)
    second = Image.new("RGB", (canvas_px, canvas_px), background.second)
    match background.kind:
        case "plain":
            return canvas
        case "vertical gradient":
            ramp = Image.linear_gradient("L").resize((canvas_px, canvas_px), Image.Resampling.BILINEAR)
            return Image.composite(second, canvas, ramp)
        case "halves above each other":
            canvas.paste(second, (0, canvas_px // 2))
        case "halves side by side":
            canvas.paste(second, (canvas_px // 2, 0))
    return canvas


def draw_masks(
    shape: str, texture: str, center: tuple[float, float], radius: float, side_px: int
) -> tuple[Image.Image, Image.Image]:
    """Where the object is, and where its texture has marks: two "L" images of `side_px`, 0 or 255.

    `center` and `radius` are in the images' own pixels; marks may reach beyond the object.
    """
    corners = [(center[0] + radius * x, center[1] + radius * y) for x, y in outline(shape)]
    mask = Image.new("L", (side_px, side_px), 0)
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    marks = Image.new("L", (side_px, side_px), 0)
    _draw_marks(ImageDraw.Draw(marks), texture, corners, center, radius)
    return mask, marks


def _draw_marks(
    pen: ImageDraw.ImageDraw,
    texture: str,
    corners: list[tuple[float, float]],
    center: tuple[float, float],
    radius: float,
) -> None:
    cx, cy = center
    match texture:
        case "striped":  # diagonal, so that no straight edge of a shape runs along them
            step, half_width = STRIPE_PERIOD * radius, STRIPE_WIDTH * radius / 2
            for k in range(-3, 4):
                # A stripe across the square around the object, along x + y = const.
                middle = k * step * 2**0.5
                near, far = middle - half_width * 2**0.5, middle + half_width * 2**0.5
                reach = 2 * radius
                pen.polygon(
                    [(cx + near - reach, cy + reach), (cx + near + reach, cy - reach),
                     (cx + far + reach, cy - reach), (cx + far - reach, cy + reach)],
                    fill=255,
                )  # fmt: skip
        case "dotted":
            step, dot = DOT_SPACING * radius, DOT_RADIUS * radius
            for row in range(-2, 3):
                y = cy + row * step * 0.87
                for column in range(-3, 4):
                    x = cx + (column + 0.5 * (row % 2)) * step
                    pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=255)
        case "checkered":
            cell = CHECK_CELL * radius
            for row in range(-3, 3):
                for column in range(-3, 3):
                    if (row + column) % 2:
                        x, y = cx + column * cell, cy + row * cell
                        pen.rectangle((x, y, x + cell, y + cell), fill=255)
        case "outlined":
            pen.line([*corners, *corners[:2]], fill=255, width=round(2 * RIM_WIDTH * radius), joint="curve")
