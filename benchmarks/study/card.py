"""The report card of a study: what a reader must know to judge it.

The points are those that Otani et al. found missing in most papers (Toward Verifiable and Reproducible Human
Evaluation for Text-to-Image Generation, CVPR 2023, arXiv 2304.01816). What the files tell is filled in; the rest only
the people who ran the study know, and what they do not tell is marked as not told.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.report.tables import p_text, share_text
from benchmarks.study.records import Study
from llm4gen_data.config import load_config
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json

NOT_TOLD = "not told"
MAX_SCREENSHOT_PIXELS = 4_000_000
# What the card says of each of the answers, in its order.
QUESTIONS = {
    "recruitment": "Where raters were recruited",
    "qualifications": "What raters had to bring",
    "payment": "What they were paid",
    "instructions": "What they were told beforehand",
    "training": "How they were trained",
    "consent": "Consent and ethics review",
    "conflicts": "Whether raters knew the models' authors",
    "period": "When it ran",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What only the people who ran a study know; `screenshot` is a picture file of what raters saw."""

    recruitment: str | None = None
    qualifications: str | None = None
    payment: str | None = None
    instructions: str | None = None
    training: str | None = None
    consent: str | None = None
    conflicts: str | None = None
    period: str | None = None
    screenshot: Path | None = None

    @property
    def screenshot_url(self) -> str | None:
        """The screenshot as a data URL, encoded anew. Raises UserError if it is no picture."""
        from llm4gen_data.recaption.prepare import ImageError, prepare

        if self.screenshot is None:
            return None
        try:
            picture = prepare(self.screenshot.read_bytes(), MAX_SCREENSHOT_PIXELS).image
        except (OSError, ImageError) as error:
            raise UserError(f"{self.screenshot}: no picture that can be read: {error}") from error
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def read_card(file: Path | None) -> Card:
    """The answers in a YAML file; none of them without a file; a screenshot's path is relative to the file.

    Raises UsageError for unknown keys, UserError for a screenshot that is no picture.
    """
    card = load_config(Card, file)
    if file is not None and card.screenshot is not None:
        card = replace(card, screenshot=file.parent / card.screenshot)
        _ = card.screenshot_url  # known to be a picture before anything is written
    return card


def read_about_raters(file: Path | None) -> dict[str, str] | None:
    """What is known of all raters together, value by property. Raises UserError if `file` does not hold that."""
    if file is None:
        return None
    known = read_json(file)
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise UserError(f"{file}: expected an object of texts, as `study import --participants` writes")
    return known


def card_rows(
    card: Card, study: Study, results: Mapping[str, Any], raters: Mapping[str, Any] | None
) -> list[list[str]]:
    """The card, question and answer a row; `raters` is what is known of them, value by property."""
    excluded = results["exclusions"]
    answers = asdict(card)
    told = [[question, answers[name] or NOT_TOLD] for name, question in QUESTIONS.items()]
    shown = "; ".join(
        f"{axis.name}: {axis.question!r} ({'with' if axis.shows_prompt else 'without'} the prompt, "
        f"{'ties allowed' if axis.tie else 'forced choice'})"
        for axis in study.axes
    )
    rules = ", ".join(f"{name} {value}" for name, value in excluded["rules"].items())
    sides = results["side_bias"][0]
    votes_a_pair = results["n_votes"] / (results["n_pairs"] * len(results["agreement"]))
    known = "; ".join(f"{name}: {value}" for name, value in raters.items()) if raters else NOT_TOLD
    return [
        ["Raters", f"{results['n_raters']} of {results['n_raters_in_all']} kept"],
        ["Who they are", known],
        *told,
        ["Questions", shown],
        ["Pictures", f"{study.width_px} x {study.height_px} px, without metadata, named by hash; sides drawn by seed"],
        ["Design", f"{results['n_prompts']} prompts, {results['n_pairs']} pairs, {len(study.slots)} rater slots"],
        ["Votes", f"{results['n_votes']} count, {votes_a_pair:.1f} a pair and axis, of {results['n_votes_in_all']}"],
        [
            "Exclusion rules",
            f"{rules}; {'as' if results['is_as_made'] else 'not known to be as'} fixed before the votes",
        ],
        ["Excluded", f"{excluded['n_excluded']} raters, {excluded['n_votes_excluded']} votes, before unblinding"],
        ["Gold pairs answered right", share_text(results["gold_right_share"])],
        ["Same answer to a repeat", f"{share_text(results['repeats_equal_share'])} of {results['n_repeats']}"],
        ["Left picture preferred", f"{share_text(sides['share_left'])} (p {p_text(sides['p_value'])})"],
        [
            "Time a vote",
            "no times" if results["median_seconds"] is None else f"median {results['median_seconds']:.1f} s",
        ],
        *(_agreement_row(row) for row in results["agreement"]),
    ]


def _agreement_row(row: Mapping[str, Any]) -> list[str]:
    numbers = {
        "Krippendorff's alpha (nominal)": row["alpha_nominal"],
        "alpha (ordinal)": row["alpha_ordinal"],
        "Fleiss' kappa": row["fleiss_kappa"],
        "raw agreement": row["raw_agreement"],
    }
    told = ", ".join(f"{name} {'-' if value is None else format(value, '.2f')}" for name, value in numbers.items())
    return [f"Agreement, {row['axis']}", f"{told}; of {row['n_pairs_shared']} pairs with two votes or more"]
