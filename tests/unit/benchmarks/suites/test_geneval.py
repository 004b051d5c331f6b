"""GenEval's checks: tables worked out by hand, geometry that must hold for any boxes, the benchmark's own file."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics.detection import Detection
from benchmarks.suites.benchmark_scores import benchmark_rows
from benchmarks.suites.geneval import Task, check_image, relative_position, surest, task_of
from benchmarks.suites.geneval_prompts import read_metadata
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt


def thing(name: str, x: float, y: float, score: float = 0.95, size: float = 20) -> Detection:
    return Detection(name, (x - size / 2, y - size / 2, x + size / 2, y + size / 2), score)


def task(tag: str, include: list[dict[str, object]], exclude: list[dict[str, object]] | None = None) -> Task:
    spec = json.dumps({"tag": tag, "include": include, "exclude": exclude or [], "prompt": "p"})
    return task_of(Prompt("00000", "p", tag, 1, spec))


def check(wanted: Task, *found: Detection, colors: str = "") -> tuple[bool, str]:
    is_correct, problems = check_image(wanted, found, lambda _, objects: colors.split() or ["red"] * len(objects))
    return is_correct, "; ".join(problems)


def test_two_objects_must_both_be_there() -> None:
    both = task("two_object", [{"class": "dog", "count": 1}, {"class": "cat", "count": 1}])
    assert check(both, thing("dog", 10, 10), thing("cat", 50, 10)) == (True, "")
    assert check(both, thing("dog", 10, 10)) == (False, "expected cat>=1, found 0")
    assert check(both, thing("dog", 10, 10), thing("cat", 50, 10, 0.3))[0] is False  # 0.3 is not above 0.3
    assert check(both, thing("dog", 10, 10, 0.31), thing("cat", 50, 10, 0.31))[0] is True


def test_counting_wants_surer_objects_and_none_too_many() -> None:
    two = task("counting", [{"class": "clock", "count": 2}], [{"class": "clock", "count": 3}])
    clocks = [thing("clock", 10 * i, 10) for i in range(3)]
    assert check(two, *clocks[:2])[0] is True
    assert check(two, *clocks) == (False, "expected clock<3, found 3")
    assert check(two, *clocks[:2], thing("clock", 90, 10, 0.9))[0] is True  # 0.9 is not above 0.9
    assert check(two, clocks[0]) == (False, "expected clock>=2, found 1")


def test_colors_are_those_of_the_surest_objects() -> None:
    red = task("colors", [{"class": "bus", "count": 1, "color": "red"}])
    assert check(red, thing("bus", 0, 0), colors="red")[0] is True
    told = check(red, thing("bus", 0, 0), colors="blue")
    assert told == (False, "expected red bus>=1, found 0 red; the bus is blue")
    asked: list[int] = []

    def colors_of(_: str, objects: Sequence[Detection]) -> list[str]:
        asked.append(len(objects))
        return ["red"]

    check_image(red, [thing("bus", 0, 0), thing("bus", 9, 9)], colors_of)
    assert asked == [1]


def test_positions_are_to_the_earlier_object() -> None:
    wanted = task(
        "position",
        [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
    )
    assert check(wanted, thing("cat", 20, 50), thing("dog", 80, 50))[0] is True
    assert check(wanted, thing("cat", 80, 50), thing("dog", 20, 50)) == (
        False,
        "expected dog right of target, found left of target",
    )
    assert check(wanted, thing("dog", 20, 50))[1] == "expected cat>=1, found 0; no target for dog to be right of"
    # too near: 4 px apart is within 0.1 x (20 + 20)
    assert check(wanted, thing("cat", 50, 50), thing("dog", 54, 50))[1].endswith("found nowhere clear target")


def test_a_diagonal_can_be_two_relations_or_none() -> None:
    assert relative_position(thing("a", 80, 80, size=1), thing("b", 20, 20, size=1)) == {"right of", "below"}
    # 60 px each way shrunk by 20: (40, 40) over a length of 84.9 is 0.47, which is not above 0.5
    assert relative_position(thing("a", 80, 80, size=100), thing("b", 20, 20, size=100)) == set()
    assert relative_position(thing("a", 5, 5), thing("b", 5, 5)) == set()


boxes = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 200))


@given(boxes, boxes)
def test_relations_are_mirrored(a: tuple[float, float, float], b: tuple[float, float, float]) -> None:
    mirror = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    one, other = thing("a", a[0], a[1], size=a[2]), thing("b", b[0], b[1], size=b[2])
    assert {mirror[name] for name in relative_position(one, other)} == relative_position(other, one)


def test_at_most_sixteen_of_a_class_the_surest_first() -> None:
    found = [thing("dog", i, 0, 0.5 + i / 100) for i in range(20)]
    kept = surest([*found, thing("cat", 0, 0)], "dog", 0.3)
    assert [one.score for one in kept] == sorted((one.score for one in found), reverse=True)[:16]


def test_a_run_is_summed_up_over_tasks_with_an_interval() -> None:
    values = {"single_object": [1, 1, 1, 1], "two_object": [1, 0], "counting": [0], "colors": [1], "position": [0, 0]}
    rows = [
        ("m", f"{task}-{i}", task, 0, "geneval", "correct", float(value), "")
        for task, own in [*values.items(), ("color_attr", [1, 0])]
        for i, value in enumerate(own)
    ]
    columns = ["model", "prompt_id", "category", "sample_index", "metric", "kind", "value", "reason"]
    scores = pd.DataFrame(rows, columns=columns)
    (row,) = benchmark_rows(scores, {}, n_resamples=500, seed=0)
    assert row["mean"] == pytest.approx((1 + 0.5 + 0 + 1 + 0 + 0.5) / 6)
    assert row["low"] < row["mean"] < row["high"]
    (row,) = benchmark_rows(scores[scores["category"] != "position"], {}, n_resamples=500, seed=0)
    assert row["mean"] is None
    assert "position" in row["note"]


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "[]",
        '{"include": []}',
        '{"include": [{"class": "dog"}]}',
        '{"include": [{"class": "dog", "count": 1, "position": ["right of", 0]}]}',
        '{"include": [{"class": "dog", "count": 1, "color": "mauve"}]}',
    ],
)
def test_other_metadata_is_one_line(spec: str | None) -> None:
    with pytest.raises(UserError, match=r"prompt '7': no metadata of GenEval"):
        task_of(Prompt("7", "p", "colors", 1, spec))


def test_another_file_is_refused_by_its_sha256(tmp_path: Path) -> None:
    line = json.dumps({"tag": "colors", "prompt": "a red bus", "include": [{"class": "bus", "count": 1}]})
    path = tmp_path / "evaluation_metadata.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match="expected 5c48e0813e81"):
        read_metadata(path)
    (prompt,) = read_metadata(path, pinned=False)
    assert (prompt.prompt_id, prompt.category) == ("00000", "colors")
    assert task_of(prompt).class_names == ["bus"]
