"""What is asked of token states: words in captions of drawn scenes, and what is true of what they name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from llm4gen_data.scenes.describe import dense_caption, medium_caption
from llm4gen_data.scenes.parse import Reader
from llm4gen_data.scenes.sample import Scene, sample_scene
from llm4gen_data.scenes.spans import PlacedWord, Span, read_placed
from llm4gen_data.scenes.vocabulary import OPPOSITE_RELATION

FIRST_SEED = 800_000_000  # far from the seeds of any training set
WRITERS: dict[str, Callable[[Scene, random.Random], str]] = {"medium": medium_caption, "dense": dense_caption}
TASKS = ("color of a shape", "shape of a color", "relation")


@dataclass(frozen=True, slots=True)
class Caption:
    """A text about the scene of a seed."""

    seed: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """Of `task`: the words of caption number `caption` at `spans` are given, `label` is asked.

    `nearest` is what the nearest word of the asked kind would say, None where that is no question.
    """

    task: str
    caption: int
    spans: tuple[Span, ...]
    label: str
    nearest: str | None = None


def draw_captions(n_scenes: int) -> list[Caption]:
    """A medium and a dense caption of each of `n_scenes` scenes that hold several kinds of objects."""
    captions: list[Caption] = []
    seed = FIRST_SEED
    while len(captions) < len(WRITERS) * n_scenes:
        scene = sample_scene(seed)
        if len({o.kind for o in scene.objects}) > 1:
            rng = random.Random(f"probe-{seed}")
            captions += [Caption(seed, kind, write(scene, rng)) for kind, write in WRITERS.items()]
        seed += 1
    return captions


def examples_of(captions: list[Caption]) -> list[Example]:
    """All examples of all tasks, caption by caption."""
    found = []
    for number, caption in enumerate(captions):
        reader = read_placed(caption.text)
        found += [*_binding(number, reader), *_relations(number, reader, random.Random(caption.seed))]
    return found


def _binding(number: int, reader: Reader) -> Iterator[Example]:
    """Both ways: which colour the thing has that a word for a shape names, and which shape a colour belongs to."""
    named = [(unit.shape, unit.attributes.get("color")) for unit in reader.units]
    placed = [(a, b) for a, b in named if isinstance(a, PlacedWord) and isinstance(b, PlacedWord)]
    shapes, colors = [shape for shape, _ in placed], [color for _, color in placed]
    if len({str(color) for color in colors}) < 2 or len({str(shape) for shape in shapes}) < 2:
        return  # nothing to keep apart
    for shape, color in placed:
        yield Example(TASKS[0], number, (shape.span,), str(color), _nearest(shape, colors))
        yield Example(TASKS[1], number, (color.span,), str(shape), _nearest(color, shapes))


def _nearest(word: PlacedWord, others: list[PlacedWord]) -> str:
    def gap(other: PlacedWord) -> int:
        return max(other.span[0] - word.span[1], word.span[0] - other.span[1])

    return str(min(others, key=gap))


def _relations(number: int, reader: Reader, rng: random.Random) -> Iterator[Example]:
    """How the second of two things stands to the first, where the text states just one relation of them."""
    stated: dict[tuple[int, int], set[str]] = {}
    for a, relation, b in reader.relations:
        key, name = ((a, b), str(relation)) if a < b else ((b, a), OPPOSITE_RELATION[str(relation)])
        stated.setdefault(key, set()).add(name)
    for a, b in combinations(range(len(reader.units)), 2):
        first, second = reader.units[a].shape, reader.units[b].shape
        names = stated.get((a, b), set())
        if len(names) == 1 and isinstance(first, PlacedWord) and isinstance(second, PlacedWord):
            relation = next(iter(names))
            if rng.random() < 0.5:  # or the order of mention would tell
                first, second, relation = second, first, OPPOSITE_RELATION[relation]
            yield Example(TASKS[2], number, (first.span, second.span), relation)
