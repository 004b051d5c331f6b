import time

import pytest

from benchmarks.report.reasons import frame_of, parts_of
from benchmarks.report.text import visible, visible_text


def test_boxes_are_in_percent_of_their_frame_and_end_at_its_edge() -> None:
    parts = parts_of(
        "2 seen: cat 0.900 at [48.0, -5, 96.0, 240.0]; dog at [400, 0, 960, 480]; left of: 1.000", 480, 480
    )
    assert [part.label for part in parts] == ["cat 0.900", "dog", None]
    assert parts[0].box == (10.0, 0.0, 20.0, 50.0)
    assert parts[1].box == pytest.approx((100 * 400 / 480, 0.0, 100.0, 100.0))
    assert parts[2].text == "left of: 1.000"
    assert parts[2].box is None


@pytest.mark.parametrize(
    "text",
    [
        "at [1, 2, 3]",
        "at [9, 9, 1, 1]",
        "at [nan, 0, 1, 1]",
        "at [1e9, 0, 2e9, 1]",
        'at [0, 0, "><script>, 1]',
        "at [700, 700, 800, 800]",
    ],
)
def test_what_is_no_box_stays_text(text: str) -> None:
    [part] = parts_of(text, 480, 480)
    assert part.text == text
    assert part.box is None


def test_answers_are_numbers_behind_a_question() -> None:
    parts = parts_of("a red dog? 0.8312; is it 3 pm? yes 1.00; no question 0.5; why?", 1, 1)
    assert [part.answer for part in parts] == [0.8312, 1.0, None, None]
    parts = parts_of("Is there a dog? yes (P(yes) = 0.830), counts 0: Is it 1.0?; P('Yes') = 0.25 to: a? b 0.9?", 1, 1)
    assert [(part.answer, part.is_void) for part in parts] == [(0.83, True), (0.25, False)]
    assert parts_of(None, 1, 1) == parts_of("", 1, 1) == []


def test_long_reasons_take_no_time() -> None:
    start = time.process_time()
    for text in (
        " " * 20_000,
        "?" * 20_000,
        "P(" * 10_000,
        "at [" * 5_000,
        "a? " + "0.5 " * 5_000 + "?",
        "1 " * 10_000,
    ):
        assert len(parts_of(text + "x", 1, 1)) == 1
    assert time.process_time() - start < 5


def test_the_frame_is_what_the_metric_says_wherever_in_its_identity() -> None:
    identity = {"metric": "x", "spatial": {"detector": {}, "frame": "479x480 px, bilinear"}}
    assert frame_of(identity, 1024, 1024) == (479, 479)
    assert frame_of(identity, 1024, 512) == (480, 240)
    assert frame_of({"frame": 3}, 1024, 512) == (1024, 512)


def test_hidden_characters_are_spelled_out_and_markup_is_text() -> None:
    assert visible("<b>\u202e&\x00\n") == (
        '&lt;b&gt;<span class="hidden-character">U+202E</span>&amp;<span class="hidden-character">U+0000</span>\n'
    )
    assert visible("שלום \u200d") == "שלום \u200d"  # honest writing, joiners
    assert visible_text("a\u2066b\ud800") == "aU+2066bU+D800"
