"""Labels by eye as plain text, a line a picture, written while looking at a contact sheet:

    # a remark
    017: small red striped circle @ 20,31; unclear @ 44,10
    018: large ?color solid star @ 30,30
    019: none
    020:

A picture goes by its number in `pictures.csv`, which holds its sha256. An object is a size, a colour, a texture and a
shape of `scenes.vocabulary` in any order, then x and y of its centre in the 64-px frame, to a few pixels. `?size`,
`?color`, `?texture` and `?shape` stand for what a person cannot tell; `unclear` is an object that no person could
name. `none`: the picture holds no object. Nothing behind the colon: not labelled yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.vocabulary import COLORS, FRAME_PX, SHAPES, SIZES, TEXTURES

ATTRIBUTES = ("size", "color", "texture", "shape")
WORDS = {"size": SIZES, "color": tuple(COLORS), "texture": TEXTURES, "shape": SHAPES}
_ATTRIBUTE_OF = {word: name for name in ATTRIBUTES for word in (*WORDS[name], f"?{name}")}
_LINE = re.compile(r"(?P<number>\d+)\s*:(?P<objects>.*)")
_PLACE = re.compile(r"(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)")
HEADER = """\
# number: size color texture shape @ x,y; ...   (x and y of the centre, 0 to 64 from the upper left)
# ?size ?color ?texture ?shape: cannot be told;  unclear @ x,y: an object nobody could name;  none: no object
# size: {sizes};  color: {colors}
# texture: {textures};  shape: {shapes}
""".format(sizes=", ".join(SIZES), colors=", ".join(COLORS), textures=", ".join(TEXTURES), shapes=", ".join(SHAPES))


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """An object as a person sees it; None is what cannot be told. `x`, `y` in pixels of the 64-px frame."""

    size: str | None
    color: str | None
    texture: str | None
    shape: str | None
    x: float
    y: float

    @property
    def is_unclear(self) -> bool:
        """Whether nothing of it could be told."""
        return all(getattr(self, name) is None for name in ATTRIBUTES)


# The objects of each picture; None where it is not labelled yet.
Labels = dict[str, tuple[LabelledObject, ...] | None]


def read_labels(path: Path, numbers: Iterable[str]) -> Labels:
    """The labels of the pictures `numbers`. Raises UserError, with the line, for anything that is no such label."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from error
    known, labels = set(numbers), Labels()
    for n, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        where = f"{path}, line {n}"
        found = _LINE.fullmatch(text)
        if found is None:
            raise UserError(
                f"{where}: {text[:80]!r}: expected 'NUMBER: OBJECT; OBJECT ...', 'NUMBER: none' or 'NUMBER:'"
            )
        number = found["number"]
        if number not in known:
            raise UserError(f"{where}: picture {number} is not in pictures.csv")
        if number in labels:
            raise UserError(f"{where}: picture {number} is there twice, expected once")
        labels[number] = _objects(found["objects"].strip(), where)
    return labels


def blank_lines(numbers: Iterable[str]) -> str:
    """A line to fill for each picture."""
    return "".join(f"{number}:\n" for number in numbers)


def _objects(text: str, where: str) -> tuple[LabelledObject, ...] | None:
    if not text:
        return None
    if text == "none":
        return ()
    return tuple(_object(part.strip(), where) for part in text.removesuffix(";").split(";"))


def _object(text: str, where: str) -> LabelledObject:
    description, at, place = (part.strip() for part in text.partition("@"))
    centre = _PLACE.fullmatch(place)
    if not at or centre is None:
        raise UserError(f"{where}: {text[:80]!r}: expected 'OBJECT @ x,y' with x and y in pixels")
    x, y = float(centre[1]), float(centre[2])
    if max(x, y) > FRAME_PX:
        raise UserError(f"{where}: {text[:80]!r}: expected x and y from 0 to {FRAME_PX}")
    told = {} if description == "unclear" else _attributes(description.split(), where, text)
    return LabelledObject(**{name: told.get(name) for name in ATTRIBUTES}, x=x, y=y)


def _attributes(words: Iterable[str], where: str, text: str) -> Mapping[str, str | None]:
    told: dict[str, str | None] = {}
    for word in words:
        name = _ATTRIBUTE_OF.get(word)
        if name is None:
            raise UserError(f"{where}: {word[:40]!r} in {text[:80]!r}: expected one of {', '.join(_ATTRIBUTE_OF)}")
        if name in told:
            raise UserError(f"{where}: {text[:80]!r}: two words for the {name}, expected one")
        told[name] = None if word.startswith("?") else word
    missing = [name for name in ATTRIBUTES if name not in told]
    if missing:
        expected = ", ".join(f"{name} (or ?{name})" for name in missing)
        raise UserError(f"{where}: {text[:80]!r}: expected as well {expected}")
    return told
