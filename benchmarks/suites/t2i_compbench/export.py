"""The scores of a run as the original scripts leave theirs: JSON lists and a line of text in fixed folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.suites.t2i_compbench.judges import phrase_scores
from benchmarks.suites.t2i_compbench.linguistics import KEY
from benchmarks.suites.t2i_compbench.protocol import ATTRIBUTES
from benchmarks.suites.t2i_compbench.rules import MAX_PHRASES
from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.runs import is_complete, make_folder, write_json, write_text

OFFICIAL = "official"
# What `llm4gen-bench prompts` calls a prompt: category and line.
PROMPT_ID = re.compile(r".+-(\d{3,})")


@dataclass(frozen=True, slots=True)
class Tree:
    """Where one scorer's results lie, and how: `text` makes the line with the mean of the values.

    `by_index`: results are numbered by the running index of the picture, else by their rank; `as_text`: values are
    written as text with four decimals.
    """

    folder: str
    text_file: str
    text: Callable[[Sequence[float]], str]
    by_index: bool = False
    as_text: bool = False


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _average(values: Sequence[float]) -> str:
    return f"score avg:{_mean(values)}"


BLIP = Tree("annotation_blip", "blip_vqa_score.txt", lambda values: f"BLIP-VQA score:{_mean(values)}", as_text=True)
SPATIAL = Tree("labels/annotation_obj_detection_2d", "avg_score.txt", _average, by_index=True)
CLIP = Tree("annotation_clip", "score_avg.txt", _average)
TREES = {
    **dict.fromkeys(ATTRIBUTES, BLIP),
    "spatial": SPATIAL,
    "3d_spatial": Tree(
        "labels/annotation_obj_detection_3d",
        "avg_result.txt",
        lambda values: f"avg score is {_mean(values)}",
        by_index=True,
    ),
    "numeracy": Tree(
        "annotation_num",
        "score.txt",
        lambda values: f"total:{sum(values)} num:{len(values)} avg:{_mean(values)}",
        by_index=True,
    ),
    "non_spatial": CLIP,
    "complex": Tree("annotation_3_in_1", "vqa_score.txt", _average),
}
# The parts of a complex score, each with the tree of its own scorer.
PARTS = {"attribute": BLIP, "spatial": SPATIAL, "clip": CLIP}


def export_run(run: Path, out: Path) -> Iterator[str]:
    """Write `out/MODEL/CATEGORY/...` for a finished run, and yield a line for each.

    Scores that failed are left out of the files and told. Raises UserError if `run` is not finished or holds no
    `official` scores of T2I-CompBench, or if `out` is not empty.
    """
    scores = _official_scores(run)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already, expected a new or empty folder")
    make_folder(out)
    for (model, category), own in scores.groupby(["model", "category"], sort=False):
        folder = out / _folder_name(str(model)) / str(category)
        own = _numbered(own)
        mean = _write(folder, TREES[str(category)], own[own["kind"] == OFFICIAL])
        for part, tree in PARTS.items():
            of_part = own[own["kind"] == f"{OFFICIAL} {part}"]
            if len(of_part):
                _write(folder, tree, of_part)
        n_failed = int(own.loc[own["kind"] == OFFICIAL, "value"].isna().sum())
        yield f"{folder}: {mean or 'no scores'}" + (f"; {n_failed} failed, left out" if n_failed else "")


def _official_scores(run: Path) -> pd.DataFrame:
    if not is_complete(run):
        raise UserError(f"{run}: no finished run of `llm4gen-bench run` (no manifest.json)")
    scores: pd.DataFrame = open_parquet(run / "scores.parquet").read().to_pandas()
    scores = scores[scores["metric"].str.startswith(f"{KEY}.") & scores["kind"].str.startswith(OFFICIAL)]
    if scores.empty:
        raise UserError(
            f"{run}: no scores of a suite t2i-compbench@VERSION/{OFFICIAL}; the original files hold no others"
        )
    return scores


def _numbered(scores: pd.DataFrame) -> pd.DataFrame:
    """With the running index of each picture, and in its order."""
    ids = list(dict.fromkeys(scores["prompt_id"]))
    matches = [PROMPT_ID.fullmatch(prompt_id) for prompt_id in ids]
    lines = [int(match[1]) if match else None for match in matches]
    order: Mapping[str, int | None] = dict(zip(ids, range(len(ids)) if None in lines else lines, strict=True))
    samples = int(scores["sample_index"].max()) + 1
    index = scores["prompt_id"].map(order) * samples + scores["sample_index"]
    return scores.assign(index=index.astype(int)).sort_values("index", kind="stable")


def _write(folder: Path, tree: Tree, scores: pd.DataFrame) -> str | None:
    """Write one tree; the line of its text file, None without values."""
    rows: list[dict[str, Any]] = scores.assign(rank=range(len(scores))).to_dict("records")  # type: ignore[assignment]
    known = [row for row in rows if not pd.isna(row["value"])]
    if not known:
        return None
    target = folder / tree.folder
    target.mkdir(parents=True, exist_ok=True)
    results = [{"question_id": _number(row, tree), "answer": _answer(row["value"], tree)} for row in known]
    write_json(target / "vqa_result.json", results)
    line = tree.text([row["value"] for row in known])
    write_text(target / tree.text_file, f"{line}\n")
    if tree is BLIP:
        _write_phrases(folder, known)
    if tree is SPATIAL:
        write_json(target / "mapping.json", {str(row["index"]): row["prompt_id"] for row in known})
    return line


def _write_phrases(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`annotation1_blip` and so on: the score of each picture's first phrase, second phrase, ..."""
    answers = [(row["rank"], phrase_scores(row["reason"])) for row in rows]
    for place in range(MAX_PHRASES):
        results = [{"question_id": rank, "answer": own[place]} for rank, own in answers if len(own) > place]
        if results:
            target = folder / f"annotation{place + 1}_blip"
            target.mkdir(exist_ok=True)
            write_json(target / "vqa_result.json", results)


def _number(row: Mapping[str, Any], tree: Tree) -> int:
    return int(row["index" if tree.by_index else "rank"])


def _answer(value: float, tree: Tree) -> str | float:
    return f"{value:.4f}" if tree.as_text else value


def _folder_name(model: str) -> str:
    """A model's name may be a path or a hub id."""
    return re.sub(r"[^\w.@+-]", "_", model).lstrip(".") or "model"
