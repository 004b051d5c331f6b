"""A study's result as one more source of scores: what people said of the images that a run scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL.Image import Image

from benchmarks.records import BenchImage, Score
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.study.rows import HUMAN
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.records import Prompt
from llm4gen_data.runs import is_complete, read_json

IMAGE = ["model", "prompt_id", "seed", "sample_index"]


class HumanVotes:
    """What people said on one axis, in the place of a metric; the votes exist already, so it scores nothing."""

    headline = "win_rate"
    unit = "share of votes won"
    digits = 3

    def __init__(self, axis: str, known: dict[str, Any]) -> None:
        self.axis = axis
        self.known = known

    def identity(self) -> dict[str, Any]:
        """Which votes of which study."""
        return {"metric": HUMAN + self.axis, **self.known}

    def check(self, prompts: Iterable[Prompt]) -> None:
        """People judge any prompt."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """Nothing to score: see `with_study`."""
        return [[] for _ in images]


def study_metrics(folder: Path) -> dict[str, HumanVotes]:
    """A metric for each axis of the study whose analysis is in `folder`.

    Raises UserError if it is no finished result of `study analyse`.
    """
    if not is_complete(folder) or not (folder / "results.json").exists():
        raise UserError(f"{folder}: no finished result of `llm4gen-bench study analyse`")
    results = read_json(folder / "results.json")
    if not isinstance(results, dict) or not {"study_id", "exclusions", "agreement", "n_votes"} <= results.keys():
        raise UserError(f"{folder / 'results.json'}: not of `llm4gen-bench study analyse`")
    known = {
        "study_id": results["study_id"],
        "votes_sha256": results["exclusions"]["votes_sha256"],
        "opponents": ", ".join(results["models"]),
        **{name: results[name] for name in ("n_votes", "n_raters", "n_prompts")},
    }
    axes = [row["axis"] for row in results["agreement"]]
    return {HUMAN + axis: HumanVotes(axis, known) for axis in axes}


def with_study(scores: pd.DataFrame, folder: Path, images: Sequence[BenchImage]) -> pd.DataFrame:
    """`scores` and the rows of the study on those of `images` that people saw, with the categories of `images`.

    Raises UserError if people saw none of them.
    """
    table: pd.DataFrame = open_parquet(folder / "scores.parquet").read(columns=SCORE_SCHEMA.names).to_pandas()
    categories = {(image.model, *image.key): image.prompt.category for image in images}
    seen = pd.MultiIndex.from_frame(table[IMAGE]).map(categories)
    rows = table.assign(category=seen)[pd.notna(seen)]
    if rows.empty:
        raise UserError(
            f"{folder}: the study is of other images: none of the same model, prompt id, seed and sample index"
        )
    return pd.concat([scores, rows], ignore_index=True)
