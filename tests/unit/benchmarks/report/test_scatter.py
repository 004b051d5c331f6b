from typing import Any
from xml.etree import ElementTree

import pytest
from jinja2 import Environment, PackageLoader

from benchmarks.report.scatter import scatter_svg, scatters

SVG = "{http://www.w3.org/2000/svg}"


def row(model: str, metric: str, mean: float | None, reach: float | None = 0.5, kind: str = "value") -> dict[str, Any]:
    low, high = (None, None) if mean is None or reach is None else (mean - reach, mean + reach)
    return {
        "model": model, "metric": metric, "kind": kind, "category": None, "mean": mean, "low": low, "high": high
    }  # fmt: skip


def results(*rows: dict[str, Any], suite: str = "densprompts") -> dict[str, Any]:
    metrics = {name: {"headline": "value"} for name in ("aesthetic", "clip_score")}
    return {"suite": suite, "models": ["a", "<b>"], "metrics": metrics, "scores": list(rows)}


BOTH = (row("a", "aesthetic", 5.0), row("a", "clip_score", 24.0), row("<b>", "aesthetic", 6.0))
FULL = (*BOTH, row("<b>", "clip_score", 28.0, None), row("a", "clip_score", 99.0, kind="other"))


def test_models_are_crosses_of_their_intervals_and_the_paper_s_stand_apart() -> None:
    ours, printed = scatters(results(*FULL))
    a, b = ours["marks"]
    assert (a["name"], a["color"], b["name"], b["color"]) == ("a", 0, "<b>", 1)
    assert a["x"] < b["x"]
    assert a["y"] > b["y"]  # SVG counts downwards
    assert a["across"][0] < a["x"] < a["across"][1]
    assert a["x"] - a["across"][0] == pytest.approx(a["across"][1] - a["x"], abs=0.2)
    assert b["up"] == []
    assert [mark["color"] for mark in printed["marks"]] == [None] * 6
    assert "not comparable" in printed["title"]
    for panel in (ours, printed):
        for mark in panel["marks"]:
            assert panel["left"] < mark["x"] < panel["right"]
            assert panel["top"] < mark["y"] < panel["bottom"]
        assert len(panel["x_ticks"]) >= 2


def test_without_both_metrics_there_is_no_plot() -> None:
    assert scatters(results(row("a", "aesthetic", 5.0))) == []
    assert scatters(results(row("a", "aesthetic", 5.0), row("a", "clip_score", None))) == []
    assert len(scatters(results(*BOTH))[0]["marks"]) == 1
    assert len(scatters(results(*BOTH, suite="scenes"))) == 1


def test_the_file_is_sound_svg_with_names_as_text() -> None:
    environment = Environment(loader=PackageLoader("benchmarks", "report"), autoescape=True, trim_blocks=True)
    svg = scatter_svg(environment, results(*FULL))
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"]
    assert names == ["a", "<b>"]
