import json
from dataclasses import replace
from typing import Any

import pytest

from llm4gen_data.scenes.read import ReadObject
from pipelines.labels.agreement import Compared, agreement, match, tell
from pipelines.labels.format import LabelledObject

STAR = LabelledObject("small", "red", "solid", "star", 20, 20)
HEART = LabelledObject("large", "blue", "dotted", "heart", 40, 40)
UNCLEAR = LabelledObject(None, None, None, None, 50, 10)


def read_as(eye: LabelledObject, **changes: Any) -> ReadObject:
    seen = ReadObject(eye.shape, eye.color, eye.texture, eye.size, eye.x + 2, eye.y - 1, 9.0, 5.0)
    return replace(seen, **changes)


def test_objects_are_matched_by_place_whatever_their_order() -> None:
    pairs = list(match("001", [STAR, HEART], [read_as(HEART), read_as(STAR)]))
    assert [(c.eye, c.read) for c in pairs] == [(STAR, read_as(STAR)), (HEART, read_as(HEART))]


def test_what_is_far_from_all_is_seen_by_one_alone() -> None:
    far = read_as(STAR, x=60.0, y=60.0)
    assert list(match("001", [STAR], [far])) == [Compared("001", STAR, None), Compared("001", None, far)]
    assert list(match("001", [], [far])) == [Compared("001", None, far)]
    assert list(match("001", [STAR], [])) == [Compared("001", STAR, None)]
    assert list(match("001", [], [])) == []


def test_two_near_pairs_are_preferred_to_one_nearer() -> None:
    # The middle one is nearest to the first, who would then leave the second alone.
    first, second = replace(STAR, x=20.0), replace(STAR, x=28.0)
    left, middle = read_as(STAR, x=12.0, y=20.0), read_as(STAR, x=21.0, y=20.0)
    assert [c.read for c in match("001", [first, second], [left, middle])] == [left, middle]


def rows_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["attribute"]: row for row in result["agreement"]}


def test_abstentions_and_missed_objects_count_against_the_reader_and_wherever_it_told_they_do_not() -> None:
    compared = [
        *match("001", [STAR, HEART], [read_as(STAR), read_as(HEART, shape="circle", size=None)]),
        *match("002", [STAR, HEART], [read_as(STAR, color=None)]),
    ]
    result = agreement(compared)
    rows = rows_of(result)
    shape = rows["shape"]
    assert [shape[name] for name in ("n", "right", "wrong", "abstained", "missed")] == [4, 2, 1, 0, 1]
    assert shape["agreement"]["share"] == 0.5
    assert shape["where_told"]["share"] == pytest.approx(2 / 3)
    # Wilson's interval of 2 of 4, by hand: (0.5 +- sqrt(...)) around the middle
    assert (shape["agreement"]["low"], shape["agreement"]["high"]) == pytest.approx((0.150, 0.850), abs=1e-3)
    assert [rows["size"][name] for name in ("right", "abstained", "missed")] == [2, 1, 1]
    assert [rows["whole object"][name] for name in ("right", "wrong", "abstained", "missed")] == [1, 1, 1, 1]
    assert rows["all attributes"]["n"] == 16
    assert result["n_missed"] == 1
    assert {"eye": "heart", "reader": "circle", "n": 1} in result["shapes"]
    assert [each["number"] for each in result["disagreements"]] == ["001", "002", "002"]
    assert json.loads(json.dumps(result)) == result


def test_what_is_unclear_to_the_eye_is_told_apart_and_counts_nowhere() -> None:
    dim = replace(STAR, texture=None)
    result = agreement(
        [
            *match("001", [dim, UNCLEAR], [read_as(STAR), read_as(UNCLEAR, shape="circle")]),
            *match("002", [], [read_as(HEART), read_as(UNCLEAR)]),
        ]
    )
    assert result["n_objects"] == 1
    assert rows_of(result)["texture"]["agreement"]["share"] is None
    assert rows_of(result)["whole object"]["right"] == 1
    assert result["unclear_to_the_eye"] == {
        **{"objects": 1, "of_them_seen": 1, "of_them_shape_told": 1},
        **{"size": 0, "color": 0, "texture": 1, "shape": 0},
    }
    assert result["seen_by_the_reader_alone"] == {"objects": 2, "shape_told": 1, "nothing_told": 1}
    text = tell({**result, "n_pictures": 2, "n_not_labelled": 0})
    assert "1 objects in 2 pictures" in text
    assert "| texture        | -" in text
