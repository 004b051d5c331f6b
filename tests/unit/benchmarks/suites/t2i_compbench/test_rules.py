import numpy as np
import pytest

from benchmarks.suites.t2i_compbench import rules
from benchmarks.suites.t2i_compbench.labels import best_of_each, last_seen_of_each, things_of_each
from benchmarks.suites.t2i_compbench.rules import (
    blip_vqa_aggregate,
    iou,
    numeracy_score,
    spatial_2d_score,
    spatial_3d_score,
    three_in_one,
    three_in_one_by_position,
)
from llm4gen_data.errors import UserError

Box = tuple[float, float, float, float]
SIDES = {
    "on the left of": (1, 0),
    "on the right of": (-1, 0),
    "on the top of": (0, 1),
    "on the bottom of": (0, -1),
}


def overlapping(overlap: float, direction: tuple[int, int], side: float = 100.0) -> tuple[Box, Box]:
    """Two equal squares with that IoU, the second one shifted in the direction."""
    shift = side * (1 - overlap) / (1 + overlap)
    dx, dy = (shift * part for part in direction)
    return (200, 200, 200 + side, 200 + side), (200 + dx, 200 + dy, 200 + dx + side, 200 + dy + side)


@pytest.mark.parametrize("overlap", [0.0, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("asked", SIDES)
@pytest.mark.parametrize("drawn", SIDES)
def test_relation_holds_only_on_its_own_side_and_pays_for_overlap(asked: str, drawn: str, overlap: float) -> None:
    a, b = overlapping(overlap, SIDES[drawn])
    assert iou(a, b) == pytest.approx(overlap)
    position = (1.0 if overlap < 0.1 else 0.1 / overlap) if asked == drawn else 0.0
    expected = 0.25 * 0.9 + 0.25 * 0.8 + 0.5 * position
    expected = expected if expected >= 0.5 else 0.0
    assert spatial_2d_score(asked, a, b, 0.9, 0.8) == pytest.approx(expected)


def test_a_diagonal_is_on_no_side() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    for relation in SIDES:
        assert rules.position_2d(relation, a, b) == 0


@pytest.mark.parametrize("relation", ["next to", "near", "on side of"])
@pytest.mark.parametrize(
    ("dx", "dy", "position"),
    [(149, 400, 1.0), (400, 149, 1.0), (150, 150, 1.0), (150, 300, 0.5), (-300, 200, 0.5), (0, 0, 1.0)],
)
def test_near_is_within_150_px_on_either_axis(relation: str, dx: float, dy: float, position: float) -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (dx, dy, dx + 10.0, dy + 10.0)
    assert rules.position_2d(relation, a, b) == pytest.approx(position)


def test_on_top_of_is_a_relation_in_fixed_only() -> None:
    a, b = overlapping(0, SIDES["on the top of"])
    assert spatial_2d_score("on top of", a, b, 0.9, 0.9) == 0
    assert spatial_2d_score("on top of", a, b, 1.0, 1.0) == 0.5
    assert spatial_2d_score("on top of", a, b, 0.9, 0.9, protocol="fixed") == pytest.approx(0.95)
    assert spatial_2d_score("on the top of", a, b, 0.9, 0.9) == pytest.approx(0.95)
    assert spatial_2d_score(None, a, b, 0.9, 0.9, protocol="fixed") == 0


def test_below_half_is_nothing_so_one_object_never_scores() -> None:
    a, b = overlapping(0, SIDES["on the left of"])
    assert spatial_2d_score("on the left of", a, None, 1.0, None) == 0
    assert spatial_2d_score("on the left of", None, b, None, 1.0) == 0
    assert spatial_2d_score("on the left of", None, None, None, None) == 0
    assert spatial_2d_score("on the right of", a, b, 0.99, 1.0) == 0  # 0.4975
    assert spatial_2d_score("on the right of", a, b, 1.0, 1.0) == 0.5


def depth_of(a: Box, b: Box, *, transposed: bool) -> np.ndarray:
    """0.9 in the first box, 0.1 in what is the second's alone; `transposed` as the original reads it."""
    depth = np.full((479, 479), 0.5)
    for (x1, y1, x2, y2), value in ((b, 0.1), (a, 0.9)):
        x1, y1, x2, y2 = map(int, (x1, y1, x2, y2))
        if transposed:
            depth[x1:x2, y1:y2] = value
        else:
            depth[y1:y2, x1:x2] = value
    return depth


@pytest.mark.parametrize("protocol", ["official", "fixed"])
def test_3d_reads_the_depth_transposed_in_official_only(protocol: rules.Mode) -> None:
    a, b = (20.0, 300.0, 60.0, 400.0), (30.0, 310.0, 70.0, 410.0)
    upright, exchanged = depth_of(a, b, transposed=False), depth_of(a, b, transposed=True)
    read, other = (exchanged, upright) if protocol == "official" else (upright, exchanged)
    overlap = iou(a, b)
    assert overlap > 0.5
    assert spatial_3d_score("in front of", a, b, 0.8, 0.6, read, protocol=protocol) == pytest.approx(0.35 + 0.5)
    assert spatial_3d_score("in front of", a, b, 0.8, 0.6, other, protocol=protocol) == pytest.approx(0.35)
    for relation in ("behind", "hidden", None):
        assert spatial_3d_score(relation, a, b, 0.8, 0.6, read, protocol=protocol) == pytest.approx(0.35)
    for relation in ("behind", "hidden"):
        assert spatial_3d_score(relation, b, a, 0.6, 0.8, read, protocol=protocol) == pytest.approx(0.35 + 0.5)


@pytest.mark.parametrize(
    ("overlap", "official", "fixed"), [(0.6, 1.0, 1.0), (0.25, 0.5, 0.5), (0.0, 0.0, 0.0), (0.5, 0.0, 1.0)]
)
def test_3d_position_needs_overlap(overlap: float, official: float, fixed: float) -> None:
    # of a box of 10 x 10 and a part of it, the IoU is the part
    a, b = (100.0, 100.0, 110.0, 110.0), (100.0, 100.0, 110.0, 100.0 + 10 * overlap)
    if overlap == 0:
        b = (200.0, 200.0, 210.0, 210.0)
    assert iou(a, b) == overlap
    depth = np.zeros((479, 479))
    depth[100:110, 100:110] = 0.9
    if overlap:
        depth[100 : 100 + int(10 * overlap), 100 : 100 + int(10 * overlap)] = 0.1
    for protocol, position in (("official", official), ("fixed", fixed)):
        mode: rules.Mode = protocol  # type: ignore[assignment]
        assert spatial_3d_score("in front of", a, b, 0.0, 0.0, depth, protocol=mode) == pytest.approx(0.5 * position)


def test_3d_one_object_scores_its_quarter_without_a_cut() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert spatial_3d_score("behind", box, None, 0.8, None, None) == pytest.approx(0.2)
    assert spatial_3d_score("behind", None, box, None, 0.8, None) == pytest.approx(0.2)
    assert spatial_3d_score("behind", None, None, None, None, None) == 0
    # a box thinner than a pixel has no depth: its quarter shares stay
    thin = (5.2, 5.2, 5.8, 5.8)
    assert spatial_3d_score("behind", box, thin, 0.4, 0.4, np.ones((20, 20))) == pytest.approx(0.2)


def covering(share: float) -> list[tuple[str, Box, float]]:
    """Two dogs: a box of 100 x 10 pixels, and one within that has this share of it."""
    return [("dog", (0, 0, 99, 9), 0.9), ("dog", (0, 0, 100 * share - 1, 9), 0.8)]


def test_numeracy_drops_boxes_that_nearly_cover_another() -> None:
    inside = covering(0.5)  # wholly in the other: one dog
    assert numeracy_score({"dog": 1}, inside) == 1
    apart = [("dog", (0.0, 0.0, 99.0, 9.0), 0.9), ("dog", (10.0, 0.0, 109.0, 9.0), 0.8)]  # 90 of 100 px shared
    assert numeracy_score({"dog": 2}, apart) == 1  # exactly 0.9 is not over it
    closer = [("dog", (0.0, 0.0, 99.0, 9.0), 0.9), ("dog", (9.0, 0.0, 108.0, 9.0), 0.8)]
    assert numeracy_score({"dog": 1}, closer) == 1
    assert numeracy_score({"dog": 2}, closer) == 0.5
    other_class = [("dog", (0.0, 0.0, 99.0, 9.0), 0.9), ("cat", (0.0, 0.0, 99.0, 9.0), 0.8)]
    assert numeracy_score({"dog": 1, "cat": 1}, other_class) == 1


def spread(*labels: str) -> list[tuple[str, Box, float]]:
    return [(label, (20.0 * i, 0.0, 20.0 * i + 9, 9.0), 0.9 - i / 100) for i, label in enumerate(labels)]


def test_numeracy_weighs_presence_and_count() -> None:
    assert numeracy_score({"dog": 2, "cat": 1}, spread("dog", "dog", "cat")) == 1
    assert numeracy_score({"dog": 3, "cat": 1}, spread("dog", "dog")) == 0.25
    assert numeracy_score({"dog": 3}, []) == 0
    with pytest.raises(UserError, match="no number"):
        numeracy_score({}, spread("dog"))


def test_numeracy_aliases_and_renames() -> None:
    # a name without an exact class takes over every label that contains it, for good
    assert numeracy_score({"car": 2}, spread("carrot", "racing car")) == 1
    assert numeracy_score({"car": 1, "carrot": 1}, spread("carrot")) == 0.5
    assert numeracy_score({"car": 1}, spread("car", "carrot")) == 1
    assert numeracy_score({"car": 2}, spread("carrot", "racing car"), protocol="fixed") == 0
    # official: a boy and a girl are one person each, and there are two
    assert numeracy_score({"boy": 1, "girl": 1}, spread("person", "person")) == 0.5
    assert numeracy_score({"boy": 1, "girl": 1}, spread("person", "person"), protocol="fixed") == 1
    assert numeracy_score({"ship": 1, "goldfish": 2}, spread("boat", "fish", "fish")) == 1
    assert numeracy_score({"phone": 1}, spread("mobile phone, cell phone"), protocol="fixed") == 1


def test_blip_product_is_rounded_in_official() -> None:
    assert blip_vqa_aggregate([0.7110, 0.9217]) == 0.6553
    assert blip_vqa_aggregate([0.71096, 0.92174]) == 0.6553
    assert blip_vqa_aggregate([0.71096, 0.92174], protocol="fixed") == pytest.approx(0.71096 * 0.92174, abs=1e-12)
    assert blip_vqa_aggregate([0.5, None, 0.5]) == 0.25
    assert blip_vqa_aggregate([0.00004]) == 0
    assert blip_vqa_aggregate([0.5] * 9) == 0.0039  # the ninth is not asked for


def test_blip_float32_and_rounding_of_each_phrase_are_visible() -> None:
    steps = np.random.default_rng(0).random((4000, 3)).tolist()
    exact = [float(f"{a * b * c:.4f}") for a, b, c in steps]
    rounded = [[float(f"{value:.4f}") for value in row] for row in steps]
    assert sum(blip_vqa_aggregate(row) != value for row, value in zip(steps, exact, strict=True)) > 100
    halves = [row for row in rounded if blip_vqa_aggregate(row) != float(f"{row[0] * row[1] * row[2]:.4f}")]
    for row in halves:  # float32 alone decides only where the product is next to a half
        assert abs((row[0] * row[1] * row[2] * 1e4) % 1 - 0.5) < 0.01


def test_no_phrase_is_one_in_official_and_refused_in_fixed() -> None:
    assert blip_vqa_aggregate([]) == 1.0
    assert blip_vqa_aggregate([None, None]) == 1.0
    with pytest.raises(UserError, match="no noun phrase"):
        blip_vqa_aggregate([], protocol="fixed")


def test_three_in_one_averages_what_the_kind_calls_for() -> None:
    assert three_in_one("spatial", 0.4, 0.8, None) == pytest.approx(0.6)
    assert three_in_one("action", 0.4, None, 0.2) == pytest.approx(0.3)
    assert three_in_one("spatialaction", 0.3, 0.6, 0.9) == pytest.approx(0.6)
    with pytest.raises(UserError, match="no clip score"):
        three_in_one("action", 0.4, 0.8, None)
    with pytest.raises(UserError, match="kind 'other'"):
        three_in_one("other", 0.4, 0.8, 0.1)  # type: ignore[arg-type]


def test_three_in_one_by_position_takes_ten_a_prompt() -> None:
    n = 20
    attribute, spatial, clip = [0.0] * n, [1.0] * n, [0.5] * n
    scores = three_in_one_by_position(["spatial", "action"], attribute, spatial, clip)
    assert scores == [0.5] * 10 + [0.25] * 10
    with pytest.raises(UserError, match="19 spatial scores, expected 20"):
        three_in_one_by_position(["spatial", "action"], attribute, spatial[:-1], clip)
    extra = [*attribute, 9.0]
    assert three_in_one_by_position(["spatial", "action"], extra, spatial, clip) == scores
    with pytest.raises(UserError, match="21 attribute scores"):
        three_in_one_by_position(["spatial", "action"], extra, spatial, clip, protocol="fixed")


def test_2d_names_are_whole_and_the_best_is_taken() -> None:
    labels = ["mobile phone, cell phone", "dog", "cat", "dog"]
    assert best_of_each(("dog", "cat"), labels) == (1, 2)
    assert best_of_each(("phone", "cat"), labels) == (None, 2)
    assert best_of_each(("dog", "dog"), labels) == (1, 1)
    assert things_of_each(("phone", "dog"), labels) == (0, 1)
    assert things_of_each(("dog", "dog"), labels) == (1, 3)
    assert things_of_each(("cow", "sofa"), ["cattle", "couch"]) == (0, 1)


def test_3d_takes_the_last_hit_before_both_are_found_and_the_first_of_one_alone() -> None:
    assert last_seen_of_each(("car", "dog"), ["carrot", "car", "dog", "car"]) == (1, 2)
    assert last_seen_of_each(("car", "dog"), ["carrot", "car"]) == (0, None)
    assert last_seen_of_each(("dog", "key"), ["monkey"]) == (None, 0)
    assert last_seen_of_each(("desk", "desk"), ["lamp", "desk", "desk"]) == (1, 1)
