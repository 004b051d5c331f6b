"""How far the scene reader can be believed: what it reads from drawn scenes against what was drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageFilter
from tqdm import tqdm

from llm4gen_data.scenes.read import Reading, read_scene
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Relation, Scene, relations, sample_scene

KINDS = ("object", "shape", "color", "texture", "size", "relation", "background")
# An object is found if something is read this close to its centre, in radii.
FOUND_WITHIN_RADII = 0.6


def _jpeg_75(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=75)
    return Image.open(buffer)


CONDITIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as drawn": lambda image: image,
    "JPEG quality 75": _jpeg_75,
    "blur of 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@dataclass(slots=True)
class Tally:
    """What became of the facts of one kind: told right, told wrong (or told and not there), or not told."""

    right: int = 0
    wrong: int = 0
    abstained: int = 0

    @property
    def accuracy(self) -> float:
        """Share of all facts that were told right; abstaining counts against it."""
        return self.right / max(1, self.right + self.wrong + self.abstained)


def calibrate_scene_reader(
    n: int, seed: int, split: Literal["train", "unseen", "any"] = "any"
) -> dict[str, dict[str, Tally]]:
    """Tallies by condition (CONDITIONS) and kind of fact (KINDS) over `n` scenes of seeds `seed`, `seed + 1`, ..."""
    tallies = {condition: {kind: Tally() for kind in KINDS} for condition in CONDITIONS}
    for number in tqdm(range(seed, seed + n), desc="calibrate", unit="scene"):
        scene = sample_scene(number, split=split)
        image = render(scene)
        for condition, change in CONDITIONS.items():
            reading = read_scene(change(image))
            for kind, verdict in _verdicts(scene, reading):
                tally = tallies[condition][kind]
                setattr(tally, verdict, getattr(tally, verdict) + 1)
    return tallies


def format_tallies(tallies: Mapping[str, Mapping[str, Tally]]) -> str:
    """One line a kind, for each condition the share told right, and of the rest what was wrong."""
    head = f"{'':12s}" + "".join(f"{condition:>26s}" for condition in tallies)
    lines = [head, f"{'fact':12s}" + f"{'right':>12s}{'wrong':>7s}{'untold':>7s}" * len(tallies)]
    for kind in KINDS:
        cells = (t[kind] for t in tallies.values())
        lines.append(f"{kind:12s}" + "".join(f"{t.accuracy:12.2%}{t.wrong:7d}{t.abstained:7d}" for t in cells))
    return "\n".join(lines)


def _verdicts(scene: Scene, reading: Reading) -> Iterator[tuple[str, str]]:
    """(kind, "right" | "wrong" | "abstained") for every fact of the scene, and for every claim that is none."""
    found = _matches(scene, reading)
    for i, drawn in enumerate(scene.objects):
        yield "object", "right" if i in found else "abstained"
        for kind in ("shape", "color", "texture", "size"):
            read = getattr(reading.objects[found[i]], kind) if i in found else None
            yield kind, _verdict(read, getattr(drawn, kind))
    for _ in range(len(reading.objects) - len(found)):
        yield "object", "wrong"
    told = set(reading.relations)
    true = {Relation(found[r.subject], r.relation, found[r.object]) for r in relations(scene) if _both(r, found)}
    for relation in relations(scene):
        is_told = _both(relation, found) and (
            Relation(found[relation.subject], relation.relation, found[relation.object]) in told
        )
        yield "relation", "right" if is_told else "abstained"
    for _ in told - true:
        yield "relation", "wrong"
    yield "background", _verdict(reading.background, scene.background)


def _verdict(read: str | None, drawn: str) -> str:
    if read is None:
        return "abstained"
    return "right" if read == drawn else "wrong"


def _both(relation: Relation, found: Mapping[int, int]) -> bool:
    return relation.subject in found and relation.object in found


def _matches(scene: Scene, reading: Reading) -> dict[int, int]:
    """Drawn object -> the read object nearest to its centre, if near enough; drawn objects never overlap."""
    found: dict[int, int] = {}
    for i, drawn in enumerate(scene.objects):
        distances = [((read.x - drawn.x) ** 2 + (read.y - drawn.y) ** 2) ** 0.5 for read in reading.objects]
        if distances and min(distances) <= FOUND_WITHIN_RADII * drawn.radius:
            found[i] = distances.index(min(distances))
    return found
