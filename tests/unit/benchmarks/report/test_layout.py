import csv
import io
import json
from typing import Any

import pytest

from benchmarks.report.latex import escape, latex_table
from benchmarks.report.layout import (
    measured_cells,
    paper_latex,
    paper_markdown,
    paper_rows,
    paper_table,
    published_cells,
)
from benchmarks.report.published import PUBLISHED, published_for
from benchmarks.report.tables import csv_text

BLIP = "t2i_compbench.blip_vqa"
OWL = {"headline": "official", "digits": 4, "detector": {"model": "owl", "comparable_with_unidet": False}}


def score(model: str, metric: str, category: str | None, mean: float, kind: str = "official") -> dict[str, Any]:
    counts = {"n_prompts": 300, "n_images": 3000, "n_failed": 0}
    ends = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    return {"model": model, "metric": metric, "kind": kind, "category": category, **ends, **counts}


def results(suite: str = "t2i-compbench@2025-09/official", **changes: Any) -> dict[str, Any]:
    rows = [
        score("ours", BLIP, None, 0.9),
        score("ours", BLIP, "color", 0.7329),
        score("ours", BLIP, "shape", 0.5),
        score("base", BLIP, "color", 0.4),
        score("ours", "t2i_compbench.spatial_2d", "spatial", 0.2259),
        score("ours", "t2i_compbench.spatial_2d", "spatial", 0.1, kind="official attribute"),
    ]
    metrics = {BLIP: {"headline": "official", "digits": 4}, "t2i_compbench.spatial_2d": OWL}
    return {"suite": suite, "models": ["ours", "base"], "scores": rows, "metrics": metrics} | changes


def table(categories: tuple[str, ...] = ("color", "shape", "spatial"), **changes: Any) -> dict[str, Any]:
    found = results(**changes)
    published = published_for(found["suite"])
    assert published is not None
    return paper_table(found, categories, published)


def test_published_rows_are_whole_and_carry_what_is_wrong_with_them() -> None:
    for published in PUBLISHED.values():
        assert len({len(row.values) for row in published.rows}) == 1
        assert len(published.rows[0].values) <= len(published.columns)
        noted = {row.note for row in published.rows} | {column.note for column in published.columns}
        assert noted - {None} == set(published.notes)
    rows = {row.model: row for row in PUBLISHED["t2i-compbench"].rows}
    assert rows["LLM4GEN-SDXL"].values == (73.29, 57.34, 67.86, 22.59, 31.94, 41.23)
    assert rows["ELLA-SDXL"].values[-1] is None
    gain = [a - b for a, b in zip(rows["LLM4GEN-SD1.5"].values, rows["SD1.5"].values, strict=True) if a and b]
    assert gain[0] == pytest.approx(7.69)  # the colour gain that the abstract names
    assert gain[2] == pytest.approx(9.96)  # not the 9.94 that the paper prints: told in a note
    assert "v1.4" in PUBLISHED["t2i-compbench"].notes[rows["SD1.5"].note or ""]


def test_measured_rows_are_in_the_paper_s_unit_and_apart_from_the_published() -> None:
    cells = measured_cells(table())
    assert [row[0] for row in cells] == ["model", "ours", "base"]
    named = dict(zip(cells[0], cells[1], strict=True))
    assert named["Color"] == "73.29 [72.29, 74.29]"
    assert named["Spatial (a)"] == "22.59 [21.59, 23.59]"
    assert named["Texture"] == "-"
    assert "Numeracy" not in " ".join(cells[0])  # neither the paper nor this run has it
    assert len(published_cells(table())) == 1 + 11
    assert not {row["model"] for row in table()["published"]} & {"ours", "base"}


def test_a_single_category_is_what_stands_over_all_prompts() -> None:
    cells = measured_cells(table(categories=("texture",)))
    assert dict(zip(cells[0], cells[1], strict=True))["Texture"].startswith("90.00")


def test_notes_say_why_rows_do_not_compare() -> None:
    notes = {note["mark"]: note["text"] for note in table()["notes"]}
    assert "another detector" in notes["a"]
    assert "mended" in table(suite="t2i-compbench@2025-09/fixed")["not_ranked"]
    assert "mended" not in table()["not_ranked"]
    assert published_for("scenes") is None
    for text in (paper_markdown(table()), paper_latex(table())):
        for note in notes.values():
            assert note.split(":")[0] in text
        assert "cannot be ranked" in text
        assert text.index("ours") < text.index("cannot be ranked" if "##" in text else "Composable")


def test_every_form_holds_the_same_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(paper_rows(table())))))
    assert [row["block"] for row in rows] == ["measured by this run"] * 2 + ["published"] * 11
    assert float(rows[0]["color_mean"]) == pytest.approx(73.29)
    assert rows[2]["color_mean"] == "40.63"
    assert rows[2]["color_low"] == ""
    assert json.loads(json.dumps(table())) == table()
    assert "73.29 [72.29, 74.29]" in paper_markdown(table())
    assert r"73.29 {[}72.29, 74.29{]}" in paper_latex(table())


def test_fid_and_inception_score_are_found_by_their_kinds() -> None:
    kinds = {"fid[clean]": 26.0, "kid[clean]": 0.1, "is[clean]": 32.0}
    rows = [{**score("ours", "fid", None, mean, kind), "low": None, "high": None} for kind, mean in kinds.items()] + [
        score("base", "clip_score", None, 28.0, "cosine")
    ]
    metrics = {"fid": {"headline": "fid[clean]", "digits": 4}, "clip_score": {"headline": "cosine", "digits": 2}}
    found = table(("none",), suite="coco", scores=rows, metrics=metrics)
    assert measured_cells(found)[1:] == [["ours", "26.00", "32.00", "-"], ["base", "-", "-", "28.00 [27.99, 28.01]"]]
    assert [note["text"] for note in found["notes"]][1:3] == ["Measured as fid[clean].", "Measured as is[clean]."]
    assert "FID, lower is better" in paper_markdown(found)


def test_latex_prints_text_and_runs_none_of_it() -> None:
    assert escape(r"\input{/etc/passwd}") == r"\textbackslash{}input\{/etc/passwd\}"
    assert escape("50 % & $x_1$ #~^\n\u202e") == r"50 \% \& \$x\_1\$ \#\textasciitilde{}\textasciicircum{}"
    lines = latex_table([("", [["a_b", "[1]"]])], ["model", "50 %"], "cap", "tab:x", ["n"]).splitlines()
    assert r"a\_b & {[}1{]} \\" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert lines[-1] == r"\end{table}"
