"""The closed vocabulary of scenes: what may be drawn, in which words it may be described, what is held out."""

from dataclasses import dataclass
from typing import Literal

FRAME_PX = 64

SHAPES = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "pentagon",
    "hexagon",
    "star",
    "heart",
    "cross",
    "crescent",
    "arrow",
    "semicircle",
)

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 36, 38),
    "orange": (245, 135, 20),
    "yellow": (246, 216, 40),
    "green": (40, 150, 60),
    "teal": (20, 175, 178),
    "blue": (40, 75, 215),
    "purple": (128, 45, 170),
    "pink": (245, 130, 188),
    "brown": (130, 80, 40),
    "white": (252, 252, 252),
    "black": (26, 26, 30),
}

TEXTURES = ("solid", "striped", "dotted", "checkered", "outlined")
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE_RELATION = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

# Radius of the circumscribed circle in the 64-px frame; the gap between the two keeps sizes readable.
SMALL_RADII_PX = (8.0, 8.5, 9.0, 9.5)
LARGE_RADII_PX = (12.5, 13.0, 13.5, 14.0)
SIZE_BORDER_PX = 11.0


@dataclass(frozen=True, slots=True)
class Background:
    """How a background is drawn: one colour everywhere, or two, faded or set side by side."""

    kind: Literal["plain", "vertical gradient", "halves above each other", "halves side by side"]
    first: tuple[int, int, int]
    second: tuple[int, int, int]


_GRAY, _BEIGE, _PALE_BLUE = (196, 198, 202), (216, 204, 178), (178, 196, 216)
_SAGE, _LILAC = (182, 204, 180), (200, 188, 214)

# All of middle brightness and low saturation, so that every object colour stands out from each of them.
BACKGROUNDS: dict[str, Background] = {
    "gray": Background("plain", _GRAY, _GRAY),
    "beige": Background("plain", _BEIGE, _BEIGE),
    "pale blue": Background("plain", _PALE_BLUE, _PALE_BLUE),
    "sage": Background("plain", _SAGE, _SAGE),
    "lilac": Background("plain", _LILAC, _LILAC),
    "gray gradient": Background("vertical gradient", (212, 213, 216), (160, 162, 168)),
    "dawn gradient": Background("vertical gradient", _PALE_BLUE, _BEIGE),
    "horizon": Background("halves above each other", _PALE_BLUE, _BEIGE),
    "split": Background("halves side by side", _LILAC, _SAGE),
}

# The words by which training text may call a thing; the canonical word comes first.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc"),
    "square": ("square",),
    "triangle": ("triangle",),
    "diamond": ("diamond", "lozenge"),
    "pentagon": ("pentagon",),
    "hexagon": ("hexagon",),
    "star": ("star",),
    "heart": ("heart",),
    "cross": ("cross", "plus sign"),
    "crescent": ("crescent", "crescent moon"),
    "arrow": ("arrow", "pointer"),
    "semicircle": ("semicircle", "half-disc"),
    "red": ("red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "brown": ("brown",),
    "white": ("white",),
    "black": ("black",),
    "solid": ("solid", "plain", "uniform"),
    "striped": ("striped", "banded"),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
    "outlined": ("outlined", "rimmed"),
    "small": ("small", "tiny"),
    "large": ("large", "big"),
}

# Words that training text never uses: whoever understands them learned them elsewhere.
HELD_OUT_SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("roundel",),
    "square": ("tile",),
    "triangle": ("three-sided shape",),
    "diamond": ("rhombus",),
    "pentagon": ("five-sided shape",),
    "hexagon": ("six-sided shape",),
    "star": ("pentagram",),
    "heart": ("valentine",),
    "cross": ("addition sign",),
    "crescent": ("sickle",),
    "arrow": ("dart",),
    "semicircle": ("dome",),
    "red": ("crimson",),
    "orange": ("tangerine",),
    "yellow": ("lemon",),
    "green": ("emerald",),
    "teal": ("aquamarine",),
    "blue": ("cobalt",),
    "purple": ("amethyst",),
    "pink": ("fuchsia",),
    "brown": ("chocolate",),
    "white": ("ivory",),
    "black": ("ebony",),
    "solid": ("unpatterned",),
    "striped": ("pinstriped",),
    "dotted": ("speckled",),
    "checkered": ("chessboard-like",),
    "outlined": ("bordered",),
    "small": ("petite", "little"),
    "large": ("huge", "sizable"),
}

# (attribute, shape) that training scenes never hold, nor their questions ask about.
HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("teal", "circle"),
        ("pink", "square"),
        ("black", "triangle"),
        ("purple", "diamond"),
        ("white", "pentagon"),
        ("red", "hexagon"),
        ("blue", "star"),
        ("green", "heart"),
        ("orange", "cross"),
        ("red", "crescent"),
        ("brown", "arrow"),
        ("yellow", "semicircle"),
        ("striped", "triangle"),
        ("dotted", "square"),
        ("checkered", "heart"),
        ("outlined", "hexagon"),
        ("striped", "semicircle"),
        ("dotted", "arrow"),
    }
)


def is_held_out(shape: str, color: str, texture: str) -> bool:
    """Whether an object of this kind is kept from training scenes."""
    return (color, shape) in HELD_OUT_PAIRS or (texture, shape) in HELD_OUT_PAIRS


def size_of_radius(radius_px: float) -> str:
    """`small` or `large`, by the radius in the 64-px frame."""
    return SIZES[0] if radius_px < SIZE_BORDER_PX else SIZES[1]
