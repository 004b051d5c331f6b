"""Pictures of drawn scenes against the facts their prompts state: which hold, kind by kind, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from benchmarks.metrics.metric import distinct
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.facts import (
    ATTRIBUTES,
    KINDS,
    Facts,
    ObjectFact,
    compare,
    facts_from_json,
    match_objects,
)
from llm4gen_data.scenes.read import Reading, ReadObject, read_scene
from llm4gen_data.scenes.vocabulary import FRAME_PX

# Every fact of a prompt counts once in `overall`, whatever its kind.
OVERALL = "overall"
FRAME = f"{FRAME_PX}x{FRAME_PX} px, stretched"
# Objects that look alike are matched by trying all orders; a picture of 64 px has room for four.
MAX_OBJECTS = 8


class SceneReader:
    """For each kind of fact that the prompt states, the share of those facts that hold in the picture.

    Kinds: `object` (an object of the asked shape is there), `color`, `texture`, `size`, `relation`, `count` (as many
    objects as asked, nameable or not), `background`, and `overall`, the share of all these facts. Of objects rather
    than facts: `bound`, the share of asked objects that are there with everything that was asked of them (but
    relations), and `all_bound`, 1 where all of them are, else 0. Asked and seen objects are matched one to one by
    `scenes.facts.compare`, only where the shape agrees: an attribute or relation of an object that is not there does
    not hold either. What the reader cannot tell does not hold.
    """

    headline = OVERALL
    unit = "share of the asked facts"
    digits = 3

    def __init__(self) -> None:
        self._asked: dict[str, Facts] = {}

    def identity(self) -> dict[str, Any]:
        """No weights: the reader is code, its version is that of the metric."""
        return {
            "metric": "scene_reader",
            "version": 4,
            "weights": None,
            "preprocessing": "RGB, Lanczos to 64 x 64 px",
            "frame": FRAME,
            "dtype": "float32",
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt whose spec does not tell the facts of a scene."""
        for prompt in prompts:
            self._facts(prompt)

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a kind that the prompt states anything of, `overall` last."""
        shown, places = distinct(images)
        readings = [read_scene(image) for image in shown]
        return [scores_of(self._facts(prompt), readings[place]) for place, prompt in zip(places, prompts, strict=True)]

    def _facts(self, prompt: Prompt) -> Facts:
        if prompt.prompt_id not in self._asked:
            if prompt.spec is None:
                raise UserError(f"scene_reader: prompt {prompt.prompt_id!r} has no spec to hold its picture against")
            try:
                facts = facts_from_json(prompt.spec)
            except (UserError, RecursionError) as error:
                raise UserError(f"scene_reader: spec of prompt {prompt.prompt_id!r}: {error}") from error
            self._asked[prompt.prompt_id] = _sound(facts, prompt.prompt_id)
        return self._asked[prompt.prompt_id]


def _sound(facts: Facts, prompt_id: str) -> Facts:
    """The facts themselves. Raises UserError for more than can be matched, or for what is no word."""
    if len(facts.objects) > MAX_OBJECTS:
        raise UserError(
            f"scene_reader: prompt {prompt_id!r} asks for {len(facts.objects)} objects, expected at most {MAX_OBJECTS}"
        )
    words = [facts.background, *(word for o in facts.objects for word in (o.shape, o.color, o.texture, o.size))]
    for word in words:
        if word is not None and not isinstance(word, str):
            raise UserError(f"scene_reader: spec of prompt {prompt_id!r}: {word!r} is not a word")
    return facts


def scores_of(asked: Facts, reading: Reading) -> list[Score]:
    """What a reading is worth given what was asked; no scores where nothing was."""
    seen = reading.facts()
    tallies: dict[str, tuple[int, int]] = {}  # kind -> facts that hold, facts that were asked
    counts = compare(asked, seen)
    for kind in KINDS:
        right = counts[kind].true_positive
        tallies[kind] = (right, right + counts[kind].false_positive)
    if asked.objects:
        tallies["count"] = (int(len(reading.objects) == len(asked.objects)), 1)
    if asked.background is not None:
        tallies["background"] = (int(seen.background == asked.background), 1)
    tallies = {kind: tally for kind, tally in tallies.items() if tally[1]}
    if not tallies:
        return []
    lost = [loss for loss in _losses(asked, seen, len(reading.objects)) if loss.kind in tallies]
    scores = []
    for kind, (right, n) in tallies.items():
        texts = ", ".join(loss.text for loss in lost if loss.kind == kind)
        scores.append(Score(kind, right / n, f"{right} of {n} hold" + (f"; missing: {texts}" if right < n else "")))
    scores += _bound(asked, seen)
    texts = ", ".join(loss.text for loss in lost if not loss.is_implied)
    reason = f"asked: {describe(asked)}; seen: {_describe_seen(reading)}; missing: {texts or 'nothing'}"
    n_right, n_asked = (sum(column) for column in zip(*tallies.values(), strict=True))
    return [*scores, Score(OVERALL, n_right / n_asked, reason)]


def _bound(asked: Facts, seen: Facts) -> list[Score]:
    """Which of the asked objects are there as they were asked for; no scores where there are none."""
    if not asked.objects:
        return []
    matched = match_objects(asked, seen)
    names = _names(asked)
    lost = []
    for i, o in enumerate(asked.objects):
        found = seen.objects[matched[i]] if i in matched else None
        told = [name for name in ATTRIBUTES if getattr(o, name) is not None]
        if found is None or any(getattr(found, name) != getattr(o, name) for name in told):
            lost.append(names[i])
    n = len(asked.objects)
    reason = f"{n - len(lost)} of {n} as asked" + (f"; not so: {', '.join(lost)}" if lost else "")
    return [Score("bound", (n - len(lost)) / n, reason), Score("all_bound", float(not lost), reason)]


def describe(facts: Facts) -> str:
    """Facts in words: "large red striped circle, small blue square, circle left of square, on gray"."""
    return ", ".join([*map(_phrase, facts.objects), *_around(facts)]) or "nothing that can be told"


def _describe_seen(reading: Reading) -> str:
    """As `describe`, each object with its box in pixels of the frame, those of which nothing can be told as well."""
    objects = [f"{_phrase(ObjectFact(o.shape, o.color, o.texture, o.size))} at [{_box(o)}]" for o in reading.objects]
    around = ", ".join(_around(reading.facts()))
    return "; ".join([*objects, *([around] if around else [])]) or "nothing that can be told"


def _box(o: ReadObject) -> str:
    corners = (o.x - o.radius, o.y - o.radius, o.x + o.radius, o.y + o.radius)
    return ", ".join(f"{min(max(value, 0), FRAME_PX):.1f}" for value in corners)


def _around(facts: Facts) -> list[str]:
    """How the objects stand to each other, and on what."""
    names = _names(facts)
    relations = [f"{names[a]} {relation} {names[b]}" for a, relation, b in sorted(facts.relations)]
    return relations if facts.background is None else [*relations, f"on {facts.background}"]


@dataclass(frozen=True, slots=True)
class _Loss:
    """A fact that does not hold, in words; `is_implied` if an object is missing that it is about."""

    kind: str
    text: str
    is_implied: bool = False


def _losses(asked: Facts, seen: Facts, n_seen: int) -> Iterator[_Loss]:
    matched = match_objects(asked, seen)
    names = _names(asked)
    for i, o in enumerate(asked.objects):
        if i not in matched:
            yield _Loss("object", _phrase(o))
        for attribute in ATTRIBUTES:
            wanted = getattr(o, attribute)
            found = getattr(seen.objects[matched[i]], attribute) if i in matched else None
            if wanted is not None and found != wanted:
                instead = f" (is {found})" if found else ""
                yield _Loss(attribute, f"{wanted} {names[i]}{instead}", is_implied=i not in matched)
    for a, relation, b in sorted(asked.relations):
        if (matched.get(a, -1), relation, matched.get(b, -1)) not in seen.relations:
            is_implied = a not in matched or b not in matched
            yield _Loss("relation", f"{names[a]} {relation} {names[b]}", is_implied)
    if n_seen != len(asked.objects):
        yield _Loss("count", f"{len(asked.objects)} asked and {n_seen} seen")
    if seen.background != asked.background:
        yield _Loss("background", f"{asked.background} background (is {seen.background or 'not told'})")


def _phrase(o: ObjectFact) -> str:
    return " ".join(word for word in (o.size, o.color, o.texture, o.shape or "object") if word)


def _names(facts: Facts) -> list[str]:
    """The shortest name that tells each object from the others: its shape, with the colour or a number if need be."""
    shapes = [o.shape or "object" for o in facts.objects]
    colored = [f"{o.color} {shape}" if o.color else shape for o, shape in zip(facts.objects, shapes, strict=True)]
    names = []
    for i, shape in enumerate(shapes):
        if shapes.count(shape) == 1:
            names.append(shape)
        elif colored.count(colored[i]) == 1:
            names.append(colored[i])
        else:
            names.append(f"{colored[i]} {colored[: i + 1].count(colored[i])}")
    return names
