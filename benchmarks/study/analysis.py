"""Votes in, win rates out. Raters are left out by rule, and that is on disk, before the key is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report.tables import csv_text
from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.study.agreement import agreement, side_bias
from benchmarks.study.card import read_about_raters, read_card
from benchmarks.study.config import AnalysisConfig
from benchmarks.study.correlation import correlations
from benchmarks.study.exclusions import RaterCheck, check_raters, exclusion_record, kept_votes
from benchmarks.study.publish import publish
from benchmarks.study.published import PublishedRate, read_published
from benchmarks.study.records import Key, Vote, read_checks, read_key, read_study, read_votes
from benchmarks.study.rows import HUMAN, human_scores, private_rows, pseudonyms, vote_table
from benchmarks.study.strengths import bradley_terry
from benchmarks.study.winrates import win_rates
from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.runs import SCHEMA_VERSION, is_complete, open_run, read_json, sha256_file, write_json, write_text


def analyse(config: AnalysisConfig, out: Path) -> dict[str, Any]:
    """Analyse a study into the run directory `out`; the same numbers as in its `results.json`.

    Raises UserError for votes, study files, published figures or results that cannot be used, and if the rules leave
    no rater; UsageError for options that make no sense.
    """
    if config.n_resamples < 1:
        raise UsageError(f"n_resamples = {config.n_resamples}: expected at least 1")
    study = read_study(config.study)
    votes_file = config.votes or config.study / "votes.jsonl"
    votes = read_votes(votes_file, study)
    published = [rate for name in config.published for rate in read_published(name)]
    scores = read_scores(config.results)
    card, about_raters = read_card(config.card), read_about_raters(config.raters)
    fingerprint: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "study": sha256_file(config.study / "study.json"),
        "votes": sha256_file(votes_file),
        "model": config.model,
        "published": [asdict(rate) for rate in published],
        "results": [sha256_file(folder / "scores.parquet") for folder in config.results],
        "card": sha256_file(config.card) if config.card else None,
        "raters": sha256_file(config.raters) if config.raters else None,
        "n_resamples": config.n_resamples,
        "bootstrap_seed": config.bootstrap_seed,
    }
    with open_run(out, "study analyse", to_plain(config), fingerprint):
        is_as_made = check_as_made(config.study, "study") and check_as_made(config.study, "checks")
        checks = read_checks(config.study)
        raters = check_raters(votes, study, checks)
        names = pseudonyms([rater.rater_id for rater in raters], study.seed)
        excluded = exclusion_record(raters, names, checks, fingerprint["votes"])
        write_json(out / "exclusions.json", excluded)
        write_text(out / "raters.private.csv", csv_text(private_rows(raters, names)))
        kept = kept_votes(votes, raters, checks)
        if not kept:
            raise UserError(
                f"{votes_file}: the rules leave none of {len(raters)} raters; see {out / 'exclusions.json'}"
            )
        blind = blind_results(kept, votes, raters)
        # Only here is it told whose picture is whose.
        check_as_made(config.study, "key")
        key = read_key(config.study)
        verdicts = unblind(kept, key)
        results = {
            "study_id": study.study_id,
            "title": study.title,
            "is_as_made": is_as_made,
            "key_sha256": sha256_file(config.study / "key.json"),
            "exclusions": {name: value for name, value in excluded.items() if name != "raters"},
            **blind,
            **unblinded_results(verdicts, key, scores, published, config),
        }
        table = vote_table(votes, raters, names, checks, key)
        publish(results, human_scores(verdicts), table, excluded, study, card, about_raters, fingerprint, out)
    return results


def check_as_made(folder: Path, name: str) -> bool:
    """Whether a file of the study is what `study make` wrote, by its manifest; False where no manifest tells.

    Raises UserError if the file was changed since: rules that are changed after the votes are no rules.
    """
    if not is_complete(folder):
        return False
    known, path = read_json(folder / "manifest.json").get(f"{name}_sha256"), folder / f"{name}.json"
    if known is not None and path.exists() and sha256_file(path) != known:
        raise UserError(f"{path}: changed since the study was made; manifest.json states sha256 {known}")
    return known is not None


def blind_results(kept: Sequence[Vote], votes: Sequence[Vote], raters: Sequence[RaterCheck]) -> dict[str, Any]:
    """What can be told before unblinding: counts, agreement, side bias and self-consistency; the rest of them kept."""
    table = pd.DataFrame([asdict(vote) for vote in kept])
    staying = [rater for rater in raters if not rater.reasons]
    times = [rater.median_seconds for rater in staying if rater.median_seconds is not None]
    n_repeats = sum(rater.n_repeats for rater in staying)
    return {
        "n_votes": len(kept),
        "n_votes_in_all": len(votes),
        "n_raters": len(staying),
        "n_raters_in_all": len(raters),
        "n_pairs": int(table["pair_id"].nunique()),
        "n_prompts": int(table["prompt_id"].nunique()),
        "first_vote_at": min(vote.shown_at for vote in kept),
        "last_vote_at": max(vote.answered_at for vote in kept),
        "median_seconds": float(np.median(times)) if times else None,
        "gold_right_share": _share(
            sum(rater.n_gold - rater.n_gold_missed for rater in staying), sum(rater.n_gold for rater in staying)
        ),
        "repeats_equal_share": _share(sum(rater.n_repeats_equal for rater in staying), n_repeats),
        "n_repeats": n_repeats,
        "agreement": [{"axis": axis, **agreement(rows)} for axis, rows in table.groupby("axis", sort=False)],
        "side_bias": [
            {"axis": "all", **side_bias(table)},
            *({"axis": axis, **side_bias(rows)} for axis, rows in table.groupby("axis", sort=False)),
        ],
    }


def unblind(votes: Sequence[Vote], key: Key) -> pd.DataFrame:
    """A row a vote: the two models, and `share_a`, 1 where model_a was preferred, 0.5 for a tie, else 0.

    Models of a pair stand in the order of the key. Raises UserError for a vote on a pair that the key does not hold.
    """
    place = {model: i for i, model in enumerate(key.models)}
    rows = []
    for vote in votes:
        pair = key.pairs.get(vote.pair_id)
        if pair is None or not {vote.left_sha256, vote.right_sha256} <= pair.models.keys():
            raise UserError(
                f"key.json: pair {vote.pair_id!r} of study {key.study_id}: not in the key with its pictures"
            )
        left, right = pair.models[vote.left_sha256], pair.models[vote.right_sha256]
        share_left = {"left": 1.0, "tie": 0.5, "right": 0.0}[vote.choice]
        is_left_first = place[left] < place[right]
        same = {"seed": pair.seed, "sample_index": pair.sample_index}
        rows.append(
            {
                "axis": vote.axis,
                "pair_id": vote.pair_id,
                "prompt_id": pair.prompt_id,
                "category": pair.category,
                "rater_id": vote.rater_id,
                "model_a": left if is_left_first else right,
                "model_b": right if is_left_first else left,
                "share_a": share_left if is_left_first else 1 - share_left,
                **{f"{name}_{side}": value for side in "ab" for name, value in same.items()},
            }
        )
    return pd.DataFrame(rows)


def unblinded_results(
    verdicts: pd.DataFrame,
    key: Key,
    scores: pd.DataFrame | None,
    published: Sequence[PublishedRate],
    config: AnalysisConfig,
) -> dict[str, Any]:
    """Win rates, strengths and correlations; the model told of comes first. Raises UsageError for an unknown one."""
    model = config.model or key.models[0]
    if model not in key.models:
        raise UsageError(f"--model {model!r}: not in the study; expected {', '.join(key.models)}")
    models = [model, *(other for other in key.models if other != model)]
    seed, fewer = config.bootstrap_seed, max(1, config.n_resamples // 10)
    strengths = [
        {"axis": axis, **row}
        for axis, rows in verdicts.groupby("axis", sort=False)
        for row in bradley_terry(rows, models, n_resamples=fewer, seed=seed)
    ]
    known = correlations(verdicts, scores, n_resamples=fewer, seed=seed) if scores is not None else []
    return {
        "model": model,
        "models": models,
        "win_rates": win_rates(verdicts, models, n_resamples=config.n_resamples, seed=seed),
        "strengths": strengths,
        "correlations": known,
        "published": [asdict(rate) for rate in published],
        "n_resamples": config.n_resamples,
        "bootstrap_seed": seed,
    }


def read_scores(folders: Sequence[Path]) -> pd.DataFrame | None:
    """The scores of runs of `llm4gen-bench run`, without what people said. Raises UserError if they are none."""
    tables = []
    for folder in folders:
        file = open_parquet(folder / "scores.parquet")
        absent = [name for name in SCORE_SCHEMA.names if name not in file.schema_arrow.names]
        if absent:
            raise UserError(f"{folder / 'scores.parquet'}: no column {', '.join(absent)}; expected a run's scores")
        table = file.read(columns=SCORE_SCHEMA.names).to_pandas()
        tables.append(table[~table["metric"].str.startswith(HUMAN)])
    return pd.concat(tables) if tables else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
