import numpy as np
import pytest
from PIL import Image

from benchmarks.metrics import scene_reader
from benchmarks.metrics.metric import Metric
from benchmarks.metrics.scene_reader import SceneReader, describe, scores_of
from benchmarks.report.reasons import frame_of, parts_of
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.facts import Facts, ObjectFact, facts_to_json
from llm4gen_data.scenes.read import Reading, read_scene
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, SceneObject
from tests.unit.benchmarks.factories import prompts_of, scenes

RED_CIRCLE = SceneObject("circle", "red", "striped", "large", 20.0, 32.0, 13.0)
BLUE_SQUARE = SceneObject("square", "blue", "solid", "small", 48.0, 32.0, 9.0)


def asked(*objects: ObjectFact, left_of: bool = False, background: str | None = None) -> Facts:
    return Facts(objects, frozenset({(0, "left of", 1)}) if left_of else frozenset(), background)


def values(facts: Facts, *drawn: SceneObject) -> dict[str, float | None]:
    return {score.kind: score.value for score in scores_of(facts, read_scene(render(Scene(0, "gray", drawn))))}


def reasons(facts: Facts, *drawn: SceneObject) -> dict[str, str | None]:
    return {score.kind: score.reason for score in scores_of(facts, read_scene(render(Scene(0, "gray", drawn))))}


CIRCLE = ObjectFact("circle", "red", "striped", "large")
SQUARE = ObjectFact("square", "blue", None, "small")


def test_what_was_asked_and_drawn_holds_in_every_kind() -> None:
    found = values(asked(CIRCLE, SQUARE, left_of=True, background="gray"), RED_CIRCLE, BLUE_SQUARE)
    facts = ["object", "color", "texture", "size", "relation", "count", "background"]
    kinds = [*facts, "bound", "all_bound", "overall"]
    assert found == dict.fromkeys(kinds, 1.0)


def test_kinds_of_which_nothing_is_asked_have_no_score() -> None:
    found = values(asked(ObjectFact("circle", "red")), RED_CIRCLE)
    assert set(found) == {"object", "color", "count", "bound", "all_bound", "overall"}
    assert values(asked(), RED_CIRCLE) == {}


def test_a_wrong_attribute_fails_its_kind_alone() -> None:
    wrong = ObjectFact("circle", "red", "solid", "large")
    found = values(asked(wrong, SQUARE, left_of=True), RED_CIRCLE, BLUE_SQUARE)
    assert found["texture"] == 0.0
    assert found["overall"] == pytest.approx(8 / 9)  # 2 objects, 2 colours, 1 texture, 2 sizes, 1 relation, 1 count
    assert {kind for kind, value in found.items() if value == 1.0} == {"object", "color", "size", "relation", "count"}


def test_colours_on_the_wrong_objects_do_not_hold() -> None:
    swapped = asked(ObjectFact("circle", "blue"), ObjectFact("square", "red"))
    found = values(swapped, RED_CIRCLE, BLUE_SQUARE)
    assert (found["object"], found["color"]) == (1.0, 0.0)


def test_what_is_asked_of_an_object_that_is_not_there_does_not_hold() -> None:
    found = values(asked(CIRCLE, SQUARE, left_of=True), RED_CIRCLE)
    assert found == pytest.approx(
        {"object": 0.5, "color": 0.5, "texture": 1, "size": 0.5, "relation": 0, "count": 0}
        | {"bound": 0.5, "all_bound": 0.0, "overall": 4 / 9}
    )


def test_an_object_is_bound_if_all_that_was_asked_of_it_holds_together() -> None:
    swapped = values(asked(ObjectFact("circle", "blue"), ObjectFact("square", "red")), RED_CIRCLE, BLUE_SQUARE)
    assert (swapped["bound"], swapped["all_bound"]) == (0.0, 0.0)
    half = asked(CIRCLE, ObjectFact("square", "blue", None, "large"))
    assert values(half, RED_CIRCLE, BLUE_SQUARE)["bound"] == 0.5
    assert reasons(half, RED_CIRCLE, BLUE_SQUARE)["all_bound"] == "1 of 2 as asked; not so: square"
    assert values(asked(CIRCLE, SQUARE), RED_CIRCLE, BLUE_SQUARE)["all_bound"] == 1.0
    assert "bound" not in values(asked(background="gray"), RED_CIRCLE)


def test_an_object_too_many_fails_the_count_alone() -> None:
    found = values(asked(CIRCLE), RED_CIRCLE, BLUE_SQUARE)
    assert found.pop("count") == 0.0
    assert found.pop("overall") == pytest.approx(4 / 5)
    assert set(found.values()) == {1.0}


def test_what_a_missing_object_takes_with_it_is_told_by_kind_only() -> None:
    told = reasons(asked(CIRCLE, SQUARE, left_of=True), RED_CIRCLE)
    assert (told["overall"] or "").endswith("missing: small blue square, 2 asked and 1 seen")
    assert told["color"] == "1 of 2 hold; missing: blue square"
    assert told["relation"] == "0 of 1 hold; missing: circle left of square"


def test_a_wrong_relation_fails_and_is_told() -> None:
    turned = Facts((CIRCLE, SQUARE), frozenset({(1, "left of", 0)}))
    assert values(turned, RED_CIRCLE, BLUE_SQUARE)["relation"] == 0.0
    assert reasons(turned, RED_CIRCLE, BLUE_SQUARE)["relation"] == "0 of 1 hold; missing: square left of circle"


def test_the_reason_tells_what_was_asked_seen_and_is_missing() -> None:
    wrong = ObjectFact("circle", "red", "solid", "large")
    told = reasons(asked(wrong, SQUARE, left_of=True, background="beige"), RED_CIRCLE, BLUE_SQUARE)
    assert told["overall"] == (
        "asked: large red solid circle, small blue square, circle left of square, on beige; "
        "seen: large red striped circle at [7.1, 19.1, 32.9, 44.9]; "
        "small blue solid square at [39.3, 23.3, 56.7, 40.7]; circle left of square, on gray; "
        "missing: solid circle (is striped), beige background (is gray)"
    )
    assert told["texture"] == "0 of 1 hold; missing: solid circle (is striped)"
    assert told["object"] == "2 of 2 hold"


def test_boxes_are_drawn_where_the_objects_are() -> None:
    told = reasons(asked(CIRCLE), RED_CIRCLE, BLUE_SQUARE)["overall"]
    frame = frame_of(SceneReader().identity(), 512, 256)  # the picture is stretched to the frame
    boxes = {part.label: part.box for part in parts_of(told, *frame) if part.box}
    assert list(boxes) == ["large red striped circle", "small blue solid square"]
    assert boxes["large red striped circle"] == pytest.approx([100 * v / 64 for v in (7, 19, 33, 45)], abs=1)


def test_a_picture_is_read_once_however_many_prompts_it_is_held_against(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = scenes(2)
    first, second = (render(scene) for scene in drawn)
    prompts = prompts_of(drawn)
    read: list[Image.Image] = []

    def reading(image: Image.Image) -> Reading:
        read.append(image)
        return read_scene(image)

    monkeypatch.setattr(scene_reader, "read_scene", reading)
    pairs = SceneReader().score([first, second, first, second], [prompts[0], prompts[0], prompts[1], prompts[1]])
    assert read == [first, second]
    assert [own[-1].value == 1 for own in pairs] == [True, False, False, True]


def test_scores_of_another_version_of_the_reader_are_told_apart() -> None:
    identity = SceneReader().identity()
    assert (identity["version"], identity["weights"]) == (4, None)


def test_objects_of_one_shape_are_told_apart_in_words() -> None:
    twins = Facts(
        (ObjectFact("star", "red"), ObjectFact("star", "blue"), ObjectFact(None)), frozenset({(0, "above", 1)})
    )
    assert describe(twins) == "red star, blue star, object, red star above blue star"


def test_noise_is_not_what_was_asked() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    prompt = prompts_of(scenes(1))
    assert SceneReader().score([noise], prompt)[0][-1].value == pytest.approx(0, abs=0.2)


def test_true_pictures_score_one_and_those_of_other_prompts_little() -> None:
    drawn = scenes(6)
    pictures, prompts = [render(scene) for scene in drawn], prompts_of(drawn)
    reader: Metric = SceneReader()
    reader.check(prompts)
    right = [scores[-1].value for scores in reader.score(pictures, prompts)]
    shifted = [scores[-1].value for scores in reader.score([*pictures[1:], pictures[0]], prompts)]
    assert np.mean(np.array(right, dtype=float)) > 0.99
    assert np.mean(np.array(shifted, dtype=float)) < 0.4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "prompt 'p' has no spec"),
        ('{"questions": []}', "spec of prompt 'p': not the facts of a scene"),
        ("[" * 100_000, "spec of prompt 'p'"),
        ('{"objects": [{"shape": ["x"]}], "relations": [], "background": null}', r"\['x'\] is not a word"),
        (facts_to_json(Facts((CIRCLE,) * 9)), "asks for 9 objects, expected at most 8"),
    ],
)
def test_a_prompt_that_cannot_be_judged_is_named_before_anything_is_scored(spec: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneReader().check([Prompt("p", "a circle", "c", 2, spec)])
