"""Reasons, as metrics write them, taken apart for the eye: boxes to draw on the picture, answers to show as bars.

A reason is a line of parts between "; ". A part with "at [x1, y1, x2, y2]" tells of a box; one with a number behind a
question mark, as in "a red dog? 0.83", or with "P(yes) = 0.83" of an answer; all else is shown as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.metrics.scene_reader import FRAME as SCENE_FRAME
from benchmarks.suites.t2i_compbench.judges import frame_size
from llm4gen_data.scenes.vocabulary import FRAME_PX

MAX_BOXES = 100  # of one picture; more cannot be told apart
LABEL_CHARS = 40
VOID = ", counts 0"  # behind an answer

_NUMBER = r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*"
_BOX = re.compile(rf"^(?P<label>.*?)\bat \[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_VALUE = r"(?P<value>[01]\.\d{1,6})\b"
_ANSWERS = (
    re.compile(rf"^.*\bP\([^()]*\) = {_VALUE}", re.DOTALL),
    re.compile(rf"^.*\?[^?]* {_VALUE}[^?]*$", re.DOTALL),
)

# What detectors of a metric look at, by the name of the frame in its identity; else the picture itself.
FRAMES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "479x480 px, bilinear": frame_size,
    SCENE_FRAME: lambda width, height: (FRAME_PX, FRAME_PX),
}

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a reason: the text; the box that it tells of, in percent of the picture; the answer, 0 to 1.

    `is_void`: the answer counts nothing, as one that it depends on is wrong.
    """

    text: str
    label: str | None = None
    box: Box | None = None
    answer: float | None = None
    is_void: bool = False


def parts_of(reason: str | None, width: int, height: int) -> list[Part]:
    """The parts of a reason; its boxes are in a frame of `width` x `height` pixels and end at the picture's edge."""
    return [_part(text, width, height) for text in (reason or "").split("; ") if text.strip()]


def frame_of(identity: Mapping[str, Any], width: int, height: int) -> tuple[int, int]:
    """Width and height of the frame in which a metric tells its boxes, of a picture of so many pixels."""
    for name in _frames(identity):
        if name in FRAMES:
            return FRAMES[name](width, height)
    return width, height


def _frames(identity: Mapping[str, Any]) -> Iterator[str]:
    for key, value in identity.items():
        if key == "frame" and isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _frames(value)


def _part(text: str, width: int, height: int) -> Part:
    if found := _BOX.match(text):
        left, top, right, bottom = (float(number) for number in found.groups()[1:])
        across = [100 * min(max(x / width, 0.0), 1.0) for x in (left, right)]
        down = [100 * min(max(y / height, 0.0), 1.0) for y in (top, bottom)]
        if across[0] < across[1] and down[0] < down[1]:
            label = found["label"].strip().rpartition(": ")[2][:LABEL_CHARS]
            return Part(text, label, (across[0], down[0], across[1], down[1]))
    answered = next((match for pattern in _ANSWERS if (match := pattern.match(text))), None)
    if answered is None:
        return Part(text)
    return Part(text, answer=min(1.0, float(answered["value"])), is_void=VOID in text)
