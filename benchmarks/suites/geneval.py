"""GenEval (Ghosh et al., NeurIPS 2023): what is asked of a picture, checked against the objects found in it.

Pure functions over boxes; `metrics.geneval` brings the detector and the colours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

from benchmarks.metrics.detection import Detection
from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

NAME = "geneval"
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
COUNTING = "counting"
THRESHOLD, COUNTING_THRESHOLD = 0.3, 0.9  # an object counts if its score is above
MAX_OBJECTS = 16  # of one class
POSITION_THRESHOLD = 0.1  # of the sum of both sizes: so far offsets are shrunk
RELATION_ABOVE = 0.5  # of the offset's length
N_PROMPTS = 553

# The colours of objects of one class in the picture.
ColorsOf = Callable[[str, Sequence[Detection]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Required:
    """`count` objects of a class; all of `color`, and each at `relation` to those of the earlier item `other`."""

    class_name: str
    count: int
    color: str | None = None
    relation: str | None = None
    other: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What a picture must show: all of `include`, and of each class in `exclude` fewer than `count` objects."""

    tag: str
    include: tuple[Required, ...]
    exclude: tuple[Required, ...] = ()

    @property
    def class_names(self) -> list[str]:
        """Each class once."""
        return list(dict.fromkeys(item.class_name for item in (*self.include, *self.exclude)))


def task_of(prompt: Prompt) -> Task:
    """From GenEval's metadata in a prompt's spec. Raises UserError if that is something else."""
    try:
        data = json.loads(prompt.spec or "null")
        include, exclude = (tuple(map(_required, data.get(key, ()))) for key in ("include", "exclude"))
        if not include:
            raise ValueError("include is empty")
        for i, item in enumerate(include):
            if item.other is not None and not 0 <= item.other < i:
                raise ValueError(f"item {i} stands to item {item.other}, which is no earlier one")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UserError(
            f"prompt {prompt.prompt_id!r}: no metadata of GenEval in its spec ({type(error).__name__}: {error}); "
            "--layout geneval reads it, and so does `llm4gen-bench prompts --suite geneval`"
        ) from error
    return Task(str(data.get("tag", prompt.category)), include, exclude)


def check_image(
    task: Task, found: Sequence[Detection], colors_of: ColorsOf, *, threshold: float | None = None
) -> tuple[bool, list[str]]:
    """Whether the picture is correct, and a line on everything that is wrong.

    `found` are objects of any class; those above the threshold count (0.3, for counting 0.9), at most 16 of a class,
    the surest first. `include` looks at the `count` surest of a class only.
    """
    if threshold is None:
        threshold = COUNTING_THRESHOLD if task.tag == COUNTING else THRESHOLD
    objects = {name: surest(found, name, threshold) for name in task.class_names}
    problems: list[str] = []
    matched: list[list[Detection] | None] = []
    for item in task.include:
        own = objects[item.class_name][: item.count]
        wrong = _item_problem(item, own, matched, colors_of)
        if wrong is not None:
            problems.append(wrong)
        matched.append(own if wrong is None else None)
    for item in task.exclude:
        n = len(objects[item.class_name])
        if n >= item.count:
            problems.append(f"expected {item.class_name}<{item.count}, found {n}")
    return not problems, problems


def surest(found: Sequence[Detection], class_name: str, threshold: float) -> list[Detection]:
    """The objects of a class above the threshold, by falling score, at most MAX_OBJECTS."""
    own = [detection for detection in found if detection.label == class_name and detection.score > threshold]
    return sorted(own, key=lambda detection: -detection.score)[:MAX_OBJECTS]


def relative_position(a: Detection, b: Detection) -> set[str]:
    """How `a` stands to `b`: any of left of, right of, above, below; none where they are too near.

    The offset of the centres is shrunk in each axis by 0.1 x the sum of both sizes, then divided by its own length
    before the shrinking.
    """
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.box, b.box
    x, y = (ax1 + ax2 - bx1 - bx2) / 2, (ay1 + ay2 - by1 - by2) / 2
    near_x = POSITION_THRESHOLD * (abs(ax2 - ax1) + abs(bx2 - bx1))
    near_y = POSITION_THRESHOLD * (abs(ay2 - ay1) + abs(by2 - by1))
    shrunk_x, shrunk_y = max(abs(x) - near_x, 0), max(abs(y) - near_y, 0)
    if shrunk_x < 1e-3 and shrunk_y < 1e-3:
        return set()
    length = hypot(x, y)
    relations = set()
    if shrunk_x / length > RELATION_ABOVE:
        relations.add("left of" if x < 0 else "right of")
    if shrunk_y / length > RELATION_ABOVE:
        relations.add("above" if y < 0 else "below")
    return relations


def _item_problem(
    item: Required, own: Sequence[Detection], matched: Sequence[list[Detection] | None], colors_of: ColorsOf
) -> str | None:
    if len(own) < item.count:
        return f"expected {item.class_name}>={item.count}, found {len(own)}"
    if item.color is not None:
        colors = list(colors_of(item.class_name, own))
        if colors.count(item.color) < item.count:
            return (
                f"expected {item.color} {item.class_name}>={item.count}, found {colors.count(item.color)} "
                f"{item.color}; the {item.class_name} is {', '.join(colors)}"
            )
    if item.relation is None or item.other is None:
        return None
    others = matched[item.other]
    if others is None:
        return f"no target for {item.class_name} to be {item.relation}"
    for one in own:
        for other in others:
            seen = relative_position(one, other)
            if item.relation not in seen:
                stands = " and ".join(sorted(seen)) or "nowhere clear"
                return f"expected {item.class_name} {item.relation} target, found {stands} target"
    return None


def _required(item: Mapping[str, Any]) -> Required:
    relation, other = item.get("position", (None, None))
    count = int(item["count"])
    if count < 1 or not isinstance(item["class"], str):
        raise ValueError(f"expected a class and a count of at least 1, got {item!r}")
    if item.get("color") not in (None, *COLORS):
        raise ValueError(f"colour {item['color']!r} is not one of {', '.join(COLORS)}")
    if relation not in (None, "left of", "right of", "above", "below"):
        raise ValueError(f"relation {relation!r} is not one of left of, right of, above, below")
    return Required(item["class"], count, item.get("color"), relation, None if other is None else int(other))


SUITE = Suite(
    metrics=("geneval",),
    prompts="benchmarks.suites.geneval_prompts:geneval_prompts",
    n_prompts=N_PROMPTS,
    group=by_category,
    generate={"samples_per_prompt": 4},
)
