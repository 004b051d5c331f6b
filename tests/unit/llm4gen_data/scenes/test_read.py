"""The reader recovers what was drawn, through compression and blur, and abstains where it cannot tell."""

import io
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from llm4gen_data.scenes.facts import compare, truth_facts
from llm4gen_data.scenes.read import Reading, read_scene
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, SceneObject, relations, sample_scene
from tests.unit.llm4gen_data.scenes.distorted import distorted

ATTRIBUTES = ("shape", "color", "texture", "size")


def jpeg_75(image: Image.Image) -> Image.Image:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=75)
    return Image.open(encoded)


def blur(sigma_px: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.filter(ImageFilter.GaussianBlur(sigma_px))


def verdicts(scene: Scene, reading: Reading) -> Counter[tuple[str, str]]:
    """How often each kind of fact was told "right", "wrong" or "not told"; objects are matched by place."""
    found = {
        i: k
        for i, o in enumerate(scene.objects)
        for k, seen in enumerate(reading.objects)
        if (o.x - seen.x) ** 2 + (o.y - seen.y) ** 2 < 5**2
    }
    counted = Counter[tuple[str, str]]()
    for i, o in enumerate(scene.objects):
        for attribute in ATTRIBUTES:
            told = getattr(reading.objects[found[i]], attribute) if i in found else None
            right = told == getattr(o, attribute)
            counted[attribute, "not told" if told is None else "right" if right else "wrong"] += 1
    true = {(found.get(r.subject), r.relation, found.get(r.object)) for r in relations(scene)}
    told_relations = {(r.subject, r.relation, r.object) for r in reading.relations}
    counted["relation", "right"] += len(true & told_relations)
    counted["relation", "wrong"] += len(told_relations - true)
    counted["relation", "not told"] += len(relations(scene)) - len(true & told_relations)
    counted["background", "right" if reading.background == scene.background else "wrong"] += 1
    counted["number of objects", "right" if len(reading.objects) == len(scene.objects) else "wrong"] += 1
    return counted


def read_many(
    change: Callable[[Image.Image], Image.Image], label: str, n_scenes: int = 40
) -> Counter[tuple[str, str]]:
    total = Counter[tuple[str, str]]()
    seconds = 0.0
    for seed in range(50_000, 50_000 + n_scenes):
        scene = sample_scene(seed, split="any")
        image = change(render(scene))
        started = time.perf_counter()
        reading = read_scene(image)
        seconds += time.perf_counter() - started
        total += verdicts(scene, reading)
    print(f"\n{label}: {1000 * seconds / n_scenes:.0f} ms a picture")
    for kind in (*ATTRIBUTES, "relation", "background", "number of objects"):
        row = {verdict: total[kind, verdict] for verdict in ("right", "wrong", "not told")}
        print(f"  {kind:18}" + "".join(f"{verdict} {n:5}   " for verdict, n in row.items()))
    return total


@pytest.mark.parametrize(
    ("label", "change"), [("clean", lambda image: image), ("JPEG 75", jpeg_75), ("blur 1 px", blur(1.0))]
)
def test_attributes_and_relations_are_read(label: str, change: Callable[[Image.Image], Image.Image]) -> None:
    total = read_many(change, label)
    for kind in (*ATTRIBUTES, "relation", "background", "number of objects"):
        right, wrong = total[kind, "right"], total[kind, "wrong"]
        assert right / (right + wrong + total[kind, "not told"]) >= 0.98, kind
        assert wrong / (right + wrong) <= 0.01, kind


def test_under_heavy_blur_the_reader_rather_abstains_than_guesses() -> None:
    total = read_many(blur(2.0), "blur 2 px", n_scenes=25)
    for kind in ATTRIBUTES:
        right, wrong = total[kind, "right"], total[kind, "wrong"]
        assert wrong / (right + wrong) <= 0.08, kind
    assert total["texture", "not told"] > total["texture", "wrong"]


@pytest.mark.parametrize("size", [(256, 256), (100, 80)])
def test_other_sizes_and_modes_are_read(size: tuple[int, int]) -> None:
    scene = sample_scene(12)
    image = render(scene, 256).resize(size).convert("RGBA")
    counts = compare(read_scene(image).facts(), truth_facts(scene))
    assert all(c.false_positive == 0 for c in counts.values())
    assert counts["object"].false_negative == 0


def test_pictures_that_are_no_scenes_are_not_described() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    ramp = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    for image in (noise, ramp, Image.new("RGB", (64, 64), (0, 0, 0)), Image.new("L", (1, 1))):
        facts = read_scene(image).facts()
        assert not [o for o in facts.objects if o.shape is not None]
        assert facts.background is None


def test_an_empty_background_holds_no_object() -> None:
    reading = read_scene(render(Scene(0, "split", ())))
    assert (reading.objects, reading.background) == ((), "split")


def test_distorted_objects_are_told_by_each_attributes_own_evidence() -> None:
    total = Counter[tuple[str, str]]()
    for seed in range(60_000, 60_015):
        scene = sample_scene(seed, split="any")
        total += verdicts(scene, read_scene(distorted(scene, wobble_px=1.0, seed=seed)))
    n = sum(total["shape", verdict] for verdict in ("right", "wrong", "not told"))
    least_right = {"color": 0.95, "size": 0.95, "shape": 0.85, "texture": 0.85, "number of objects": 0.9}
    shares = {kind: total[kind, "right"] / (15 if kind == "number of objects" else n) for kind in least_right}
    assert all(shares[kind] >= least for kind, least in least_right.items()), shares
    assert total["color", "wrong"] <= 0.02 * n
    assert total["shape", "wrong"] <= 0.08 * n


def test_objects_that_have_run_together_are_two() -> None:
    red = SceneObject("circle", "red", "solid", "large", 19.0, 32.0, 13.0)
    blue = SceneObject("square", "blue", "solid", "large", 45.0, 32.0, 13.5)
    picture = render(Scene(0, "gray", (red, blue)))
    ImageDraw.Draw(picture).line((20, 32, 44, 32), fill=(130, 40, 120), width=3)
    found = read_scene(picture).objects
    assert sorted((o.color, o.shape) for o in found) == [("blue", "square"), ("red", "circle")]


@pytest.mark.parametrize(("top", "bottom"), [("brown", "brown"), ("orange", "purple")])
def test_an_object_that_has_grown_into_a_larger_one_is_an_object(top: str, bottom: str) -> None:
    small = SceneObject("circle", top, "dotted", "small", 28.0, 25.0, 8.5)
    large = SceneObject("circle", bottom, "dotted", "large", 30.0, 42.0, 13.5)
    found = read_scene(render(Scene(0, "gray", (small, large)))).objects
    assert [(o.size, o.color, o.texture, o.shape) for o in found] == [
        ("small", top, "dotted", "circle"),
        ("large", bottom, "dotted", "circle"),
    ]


def test_faint_dots_on_a_wobbly_circle_are_told() -> None:
    told = Counter[str | None]()
    for seed in range(12):
        dotted, solid = (distorted(lone("circle", "red", texture), 1.0, seed) for texture in ("dotted", "solid"))
        told[read_scene(Image.blend(solid, dotted, 0.45)).objects[0].texture] += 1
    assert told["dotted"] >= 10


@pytest.mark.parametrize("shape", ["circle", "hexagon"])
def test_round_shapes_are_told_although_they_wobble(shape: str) -> None:
    told = Counter[str | None]()
    for seed in range(12):
        told[read_scene(distorted(lone(shape, "pink", "solid"), 1.0, seed)).objects[0].shape] += 1
    assert told[shape] >= 10
    assert told.total() - told[shape] - told[None] <= 1


def lone(shape: str, color: str, texture: str) -> Scene:
    return Scene(0, "gray", (SceneObject(shape, color, texture, "large", 32.0, 32.0, 13.5),))


def test_a_seam_along_the_frame_is_no_object() -> None:
    picture = render(Scene(0, "beige", ()))
    ImageDraw.Draw(picture).rectangle((0, 0, 63, 63), outline=(255, 255, 150), width=2)
    assert read_scene(picture).objects == ()


def test_blots_have_a_colour_and_no_shape() -> None:
    picture = render(Scene(0, "sage", ()))
    pen = ImageDraw.Draw(picture)
    for box in ((14, 30, 32, 38), (26, 12, 32, 36), (28, 30, 50, 35), (38, 34, 45, 54)):
        pen.ellipse(box, fill=(128, 45, 170))
    (blot,) = read_scene(picture).objects
    assert (blot.color, blot.shape) == ("purple", None)
