"""Results -> everything an analysis leaves: tables, the chart, the report, the votes, and last the manifest."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.report.tables import csv_text, markdown, p_text, share_text
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.study.card import Card, card_rows
from benchmarks.study.figure import bars, write_figure
from benchmarks.study.published import PublishedRate
from benchmarks.study.records import Study
from llm4gen_data.parquet import write_shard
from llm4gen_data.runs import finish, package_versions, sha256_file, write_json, write_text

PACKAGES = ("choix", "krippendorff", "statsmodels", "scipy", "numpy", "pandas", "matplotlib")
TABLES = ("win_rates", "strengths", "agreement", "side_bias", "correlations", "published")
FIGURES = ("figure.svg", "figure.pdf")
OUTPUTS = (
    *("exclusions.json", "results.json", "scores.parquet", "votes.csv", *FIGURES),
    *(f"tables/{name}.csv" for name in TABLES),
    *("tables/win_rates.tex", "tables/strengths.tex", "report.html"),
)

Rows = list[list[str]]


def publish(
    results: Mapping[str, Any],
    scores: pd.DataFrame,
    votes: Sequence[Mapping[str, Any]],
    excluded: Mapping[str, Any],
    study: Study,
    card: Card,
    about_raters: Mapping[str, str] | None,
    fingerprint: Mapping[str, Any],
    out: Path,
) -> None:
    """Write all outputs of an analysis; `scores` by SCORE_SCHEMA, `votes` and `excluded` as they may be published."""
    identity = {"study_id": study.study_id, "votes_sha256": excluded["votes_sha256"]}
    table = pa.Table.from_pandas(scores, schema=SCORE_SCHEMA, preserve_index=False)
    write_shard(out / "scores.parquet", table, identity)
    write_text(out / "votes.csv", csv_text(votes))
    drawn = bars(results["win_rates"], results["model"], [PublishedRate(**row) for row in results["published"]])
    write_figure([out / name for name in FIGURES], drawn)
    card_table = card_rows(card, study, results, about_raters)
    versions = package_versions(*PACKAGES)
    write_json(out / "results.json", {**results, "card": dict(card_table), "versions": versions})
    (out / "tables").mkdir(exist_ok=True)
    for name in TABLES:
        write_text(out / "tables" / f"{name}.csv", csv_text(results[name]))
    write_text(out / "tables" / "win_rates.tex", latex(win_rate_cells(results)))
    write_text(out / "tables" / "strengths.tex", latex(strength_cells(results)))
    environment = Environment(
        loader=PackageLoader("benchmarks", "study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        results=results,
        figure="data:image/svg+xml;base64," + base64.b64encode((out / "figure.svg").read_bytes()).decode(),
        win_rates=win_rate_cells(results),
        by_category=win_rate_cells(results, by_category=True),
        strengths=strength_cells(results),
        correlations=correlation_cells(results),
        card=card_table,
        screenshot=card.screenshot_url,
        excluded=[row for row in excluded["raters"] if row["reasons"]],
        versions=versions,
    )
    write_text(out / "report.html", page)
    content = {
        "n_votes": results["n_votes"],
        "n_raters": results["n_raters"],
        "outputs": [{"path": name, "sha256": sha256_file(out / name)} for name in OUTPUTS],
    }
    finish(out, "study analyse", fingerprint, content, PACKAGES)


def win_rate_cells(results: Mapping[str, Any], *, by_category: bool = False) -> Rows:
    """A row for each axis, two models and way to count ties, all prompts together or, `by_category`, apart."""
    rows = [
        [
            *("axis", "model", "opponent", *(["category"] if by_category else []), "ties counted", "win rate"),
            *("two-way", "Wilson", "p exact", "p two-way", "p (Holm)", "wins", "ties", "losses", "prompts", "raters"),
        ]
    ]
    for row in results["win_rates"]:
        if (row["category"] is not None) == by_category:
            names = (row["axis"], row["model"], row["opponent"], *([row["category"]] if by_category else []))
            intervals = (_interval(row[f"{name}_low"], row[f"{name}_high"]) for name in ("two_way", "wilson"))
            p_values = (p_text(row[name]) for name in ("p_exact", "p_two_way", "p_two_way_holm"))
            counts = (str(row[f"n_{name}"]) for name in ("wins", "ties", "losses", "prompts", "raters"))
            rows.append([*names, row["ties"], _percent(row["win_rate"]), *intervals, *p_values, *counts])
    return rows


def strength_cells(results: Mapping[str, Any]) -> Rows:
    """A row for each axis and model: Bradley-Terry strength, interval, Elo."""
    rows = [["axis", "model", "log strength", "interval", "Elo", "votes"]]
    for row in results["strengths"]:
        ends = "-" if row["low"] is None else f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        numbers = [f"{row['strength']:+.2f}", ends, f"{row['elo']:.0f}", str(row["n_votes"])]
        rows.append([row["axis"], row["model"], *numbers])
    return rows


def correlation_cells(results: Mapping[str, Any]) -> Rows:
    """A row for each axis and kind of score, the kinds that agree best with people first."""
    rows = [["axis", "metric", "kind", "pairwise accuracy", "tau-b", "Spearman", "without ties", "pairs", "prompts"]]
    for row in sorted(results["correlations"], key=lambda row: (row["axis"], -row["pairwise_accuracy"])):
        accuracy = f"{_percent(row['pairwise_accuracy'])} " + _interval(
            row["pairwise_accuracy_low"], row["pairwise_accuracy_high"]
        )
        ranks = [
            "-"
            if row[name] is None
            else f"{row[name]:+.2f} [{row[f'{name}_low']:+.2f}, {row[f'{name}_high']:+.2f}]"
            if row[f"{name}_low"] is not None
            else f"{row[name]:+.2f}"
            for name in ("tau_b", "spearman")
        ]
        counts = [str(row["n_pairs"]), str(row["n_prompts"])]
        names = [row["axis"], row["metric"], row["kind"]]
        rows.append([*names, accuracy, *ranks, share_text(row["accuracy_without_ties"]), *counts])
    return rows


def told(results: Mapping[str, Any], out: Path) -> list[str]:
    """What a person at the screen is told."""
    excluded = results["exclusions"]
    return [
        f"{results['n_votes']} votes of {results['n_raters']} raters count; {excluded['n_excluded']} raters left out "
        f"by rule before unblinding, see {out / 'exclusions.json'}",
        markdown(win_rate_cells(results)),
        f"report: {out / 'report.html'}",
    ]


def latex(rows: Rows) -> str:
    """A booktabs table of a header and its rows, every special character escaped."""
    frame = pd.DataFrame(rows[1:], columns=pd.Index(rows[0]))
    return frame.to_latex(index=False, escape=True)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"
