from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from benchmarks.images import read_manifests
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage, Score
from benchmarks.report.gallery import gallery
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.suites.suite import by_category
from llm4gen_data.records import Prompt
from tests.unit.benchmarks.factories import write_manifest

FRAME = {"spatial": {"frame": "479x480 px, bilinear"}}


class Named:
    headline, unit, digits = "value", "0 to 1", 2

    def identity(self) -> dict[str, Any]:
        return {}

    def check(self, prompts: Iterable[Prompt]) -> None:
        raise NotImplementedError

    def score(self, images: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        raise NotImplementedError


METRICS: dict[str, Metric] = {"one": Named(), "two": Named()}


def images(folder: Path, n: int) -> list[BenchImage]:
    prompts = [Prompt(f"p{i}", f"picture {i}", ("x", "y")[i % 2], 2, None) for i in range(n)]
    pictures = {model: [Image.new("RGB", (960, 480), (i, 0, 0)) for i in range(n)] for model in ("a", "b")}
    found, _ = read_manifests([write_manifest(folder, prompts, pictures)], by_category)
    return found


def table(*rows: tuple[str, int, str, float | None, str | None]) -> pd.DataFrame:
    """Rows of model, prompt number, metric, value (None: failed) and reason."""
    full = [
        (model, f"p{i}", ("x", "y")[i % 2], 0, 0, metric, "value", value, None, reason, None if value else "lost")
        for model, i, metric, value, reason in rows
    ]
    return pd.DataFrame(full, columns=SCORE_SCHEMA.names).astype({"value": "float64", "truncated": "object"})


def test_rows_where_any_metric_differs_most_are_among_the_chosen(tmp_path: Path) -> None:
    rows = [(model, i, name, 0.5, None) for model in ("a", "b") for i in range(12) for name in METRICS]
    rows += [("a", 3, "one", 0.9, None), ("a", 4, "one", 0.8, None), ("a", 8, "two", 0.9, None)]
    scores = table(*rows).drop_duplicates(["model", "prompt_id", "metric"], keep="last")
    shown = gallery(scores, images(tmp_path, 12), METRICS, {name: {} for name in METRICS}, 4)
    ids = [row["prompt"].prompt_id for row in shown["rows"]]
    assert {"p3", "p8"} < set(ids)  # p4 differs less by the first metric than p3, p8 is the most by the second
    assert ids == sorted(ids, key=lambda one: int(one[1:]))
    assert (len(ids), shown["n_rows_in_all"], shown["sortable"]) == (4, 12, [(0, "one"), (1, "two")])
    assert shown["rows"][ids.index("p3")]["values"] == [[0.9, 0.5], [0.5, 0.5]]


def test_boxes_of_all_metrics_are_drawn_once_each_in_their_own_frame(tmp_path: Path) -> None:
    framed = "cat 0.9 at [240, 120, 480, 240]; dog not found"
    whole = "2 seen: cat 0.9 at [480, 240, 960, 480]; hat at [0, 0, 96, 48]"
    rows = [("a", 0, "one", 0.5, framed), ("a", 0, "two", 0.5, whole), ("b", 0, "one", None, None)]
    identities = {"one": FRAME, "two": {}}
    [row] = gallery(table(*rows), images(tmp_path, 1), METRICS, identities, 5)["rows"]
    a, b = row["cells"]
    assert [(part.label, part.box) for part in a["boxes"]] == [
        ("cat 0.9", (50.0, 50.0, 100.0, 100.0)),
        ("hat", (0.0, 0.0, 10.0, 10.0)),
    ]
    numbers = [[number for _, number in kind["parts"]] for metric in a["metrics"] for kind in metric["kinds"]]
    assert numbers == [[0, None], [0, 1]]
    assert (row["has_boxes"], row["has_failure"], b["boxes"]) == (True, True, [])
    assert [kind["text"] for kind in b["metrics"][0]["kinds"]] == ["failed"]
    assert len(b["metrics"]) == 1  # a metric that says nothing of a prompt is not shown
    assert row["values"] == [[0.5, None], [0.5, None]]
