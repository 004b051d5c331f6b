"""Results in the layout of the paper's tables: our rows in one block, the published ones in another below it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from benchmarks.report.latex import latex_table
from benchmarks.report.published import NOT_RANKED, Column, Published
from benchmarks.report.tables import Rows, estimate_text, markdown

MARKS = "abcdefghijklmnopqrstuvwxyz"
MEASURED, PUBLISHED = "measured by this run", "published"
NUMBERS = ("mean", "low", "high")
OTHER_DETECTOR = "comparable_with_unidet"
OTHER_MODE = " They are of the original procedure with its faults, this run is of the mended one (fixed)."


def paper_table(results: Mapping[str, Any], categories: Collection[str], published: Published) -> dict[str, Any]:
    """The table as plain data: `columns`, `measured`, `published`, `notes`; a note is named by its letter.

    `results` as in results.json, `categories` those of its prompts. Of the columns that the paper does not have, only
    those that this run measured.
    """
    cells = {column.name: _measured(results, categories, column) for column in published.columns}
    n_printed = len(published.rows[0].values)
    columns = [
        column
        for i, column in enumerate(published.columns)
        if i < n_printed or any(cell["mean"] is not None for cell in cells[column.name].values())
    ]
    texts: list[str] = []
    shown = [
        {
            "name": column.name,
            "title": column.title,
            "digits": column.digits,
            **_marks(texts, _column_notes(column, results, published)),
        }
        for column in columns
    ]
    rows = [
        {
            "model": row.model,
            "values": dict(zip((c.name for c in published.columns), row.values, strict=False)),
            **_marks(texts, [published.notes[row.note]] if row.note else []),
        }
        for row in published.rows
    ]
    return {
        "layout": published.source,
        "unit": published.unit,
        "suite": results["suite"],
        "columns": shown,
        "measured": [
            {"model": model, "values": {column.name: cells[column.name][model] for column in columns}}
            for model in results["models"]
        ],
        "published": rows,
        "notes": [{"mark": mark, "text": text} for mark, text in zip(MARKS, texts, strict=False)],
        "not_ranked": NOT_RANKED + (OTHER_MODE if results["suite"].endswith("/fixed") else ""),
    }


def measured_cells(table: Mapping[str, Any]) -> Rows:
    """A row a model of this run, below a header."""
    rows = [_header(table)]
    for row in table["measured"]:
        texts = (estimate_text(row["values"][c["name"]], c["digits"]) for c in table["columns"])
        rows.append([row["model"], *texts])
    return rows


def published_cells(table: Mapping[str, Any]) -> Rows:
    """A row a model of the paper, below the same header."""
    rows = [_header(table)]
    for row in table["published"]:
        values = ((row["values"].get(c["name"]), c["digits"]) for c in table["columns"])
        texts = ("-" if value is None else f"{value:.{digits}f}" for value, digits in values)
        rows.append([f"{row['model']}{_superscript(row['marks'])}", *texts])
    return rows


def paper_markdown(table: Mapping[str, Any]) -> str:
    """Both blocks, each a table, and the notes."""
    notes = "".join(f"- ({note['mark']}) {note['text']}\n" for note in table["notes"])
    return (
        f"## {table['suite']}, {MEASURED} ({table['unit']})\n\n{markdown(measured_cells(table))}\n"
        f"## {PUBLISHED.capitalize()}: {table['layout']}\n\n{table['not_ranked']}\n\n"
        f"{markdown(published_cells(table))}\n{notes}"
    )


def paper_latex(table: Mapping[str, Any]) -> str:
    """Both blocks in one table, and the notes below it."""
    blocks = [
        (MEASURED.capitalize(), measured_cells(table)[1:]),
        (f"{PUBLISHED.capitalize()}: {table['layout']}", published_cells(table)[1:]),
    ]
    notes = [table["not_ranked"], *(f"({note['mark']}) {note['text']}" for note in table["notes"])]
    caption = f"{table['suite']} ({table['unit']}). Brackets: 95 % intervals, clustered by prompt."
    return latex_table(blocks, _header(table), caption, f"tab:{table['suite'].partition('@')[0]}", notes)


def paper_rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Both blocks as flat rows with the same keys, told apart by `block`."""
    rows = []
    for block, key in ((MEASURED, "measured"), (PUBLISHED, "published")):
        for row in table[key]:
            flat: dict[str, Any] = {"block": block, "model": row["model"]}
            for column in table["columns"]:
                value = row["values"].get(column["name"])
                numbers = value if isinstance(value, Mapping) else {"mean": value, "low": None, "high": None}
                flat |= {f"{column['name']}_{number}": numbers[number] for number in NUMBERS}
            rows.append(flat)
    return rows


def _measured(results: Mapping[str, Any], categories: Collection[str], column: Column) -> dict[str, dict[str, Any]]:
    """The column's estimate by model, scaled; rows over all prompts stand for the only category."""
    kind = _kind(results, column)
    category = None if column.category in categories and len(categories) == 1 else column.category
    found = {
        row["model"]: {number: None if row[number] is None else column.scale * row[number] for number in NUMBERS}
        | {count: row[count] for count in ("n_prompts", "n_images", "n_failed")}
        for row in results["scores"]
        if (row["metric"], row["kind"], row["category"]) == (column.metric, kind, category)
    }
    nothing = dict.fromkeys(NUMBERS) | {"n_prompts": 0, "n_images": 0, "n_failed": 0}
    return {model: found.get(model, nothing) for model in results["models"]}


def _kind(results: Mapping[str, Any], column: Column) -> str | None:
    """The kind of score in the column; None where this run has none."""
    if column.family is None:
        metric: Mapping[str, str] = results["metrics"].get(column.metric, {})
        return metric.get("headline")
    kinds = (row["kind"] for row in results["scores"] if row["metric"] == column.metric)
    return next((kind for kind in kinds if kind.startswith(f"{column.family}[")), None)


def _column_notes(column: Column, results: Mapping[str, Any], published: Published) -> list[str]:
    texts = [published.notes[column.note]] if column.note else []
    if _says(results["metrics"].get(column.metric, {}), OTHER_DETECTOR, False):
        texts.append("Measured with another detector than the protocol's UniDet: no published value compares.")
    kind = _kind(results, column)
    if kind is not None and "[" in kind:
        texts.append(f"Measured as {kind}.")
    return texts


def _says(identity: Any, key: str, value: Any) -> bool:
    """Whether `key` has `value` anywhere in nested data."""
    if not isinstance(identity, Mapping):
        return False
    return (key in identity and identity[key] == value) or any(_says(own, key, value) for own in identity.values())


def _marks(texts: list[str], notes: Sequence[str]) -> dict[str, list[str]]:
    """The letters of the notes; new ones are added to `texts`."""
    texts += [note for note in notes if note not in texts]
    return {"marks": [MARKS[texts.index(note)] for note in notes]}


def _header(table: Mapping[str, Any]) -> list[str]:
    return ["model", *(f"{c['title']}{_superscript(c['marks'])}" for c in table["columns"])]


def _superscript(marks: Sequence[str]) -> str:
    return f" ({', '.join(marks)})" if marks else ""
