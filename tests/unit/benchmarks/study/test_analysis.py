import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.study.analysis import analyse
from benchmarks.study.card import read_card
from benchmarks.study.config import AnalysisConfig
from benchmarks.study.exclusions import check_raters
from benchmarks.study.records import Study, Vote
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import write_shard
from llm4gen_data.runs import sha256_file
from tests.factories import encode, picture
from tests.unit.benchmarks.study.simulated import simulated_study, simulated_votes, write_study

STRENGTHS = {"ours": 1.0, "base": -1.0, "<b>third</b> & $x$": 0.0}
MODELS = list(STRENGTHS)


def study_with(folder: Path, votes: Sequence[Vote] | None = None) -> Path:
    study, checks, key = simulated_study(MODELS)
    return write_study(folder, study, checks, key, votes or simulated_votes(study, checks, key, STRENGTHS))


def config(study: Path, **changes: object) -> AnalysisConfig:
    return AnalysisConfig(**{"study": study, "n_resamples": 50, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    (folder / "card.yaml").write_text("payment: 12 pounds an hour\n", encoding="utf-8")
    changes = {"published": ("paper",), "card": folder / "card.yaml"}
    analyse(config(study_with(folder / "study"), **changes), folder / "out")
    return folder / "out"


def test_everything_is_written_and_the_manifest_vouches_for_it(analysed: Path) -> None:
    manifest = json.loads((analysed / "manifest.json").read_text(encoding="utf-8"))
    for output in manifest["outputs"]:
        assert sha256_file(analysed / output["path"]) == output["sha256"]
    results = json.loads((analysed / "results.json").read_text(encoding="utf-8"))
    best = [row for row in results["win_rates"] if row["opponent"] == "base" and row["category"] is None]
    assert all(row["model"] == "ours" and row["win_rate"] > 0.7 for row in best)
    assert results["strengths"][0]["model"] == "ours"
    assert results["gold_right_share"] == 1.0


def test_gold_pairs_and_repeats_are_in_no_win_rate(analysed: Path) -> None:
    results = json.loads((analysed / "results.json").read_text(encoding="utf-8"))
    votes = list(csv.DictReader((analysed / "votes.csv").open(encoding="utf-8")))
    n_plain = sum(vote["role"] == "" for vote in votes)
    counted = [row for row in results["win_rates"] if row["category"] is None and row["ties"] == "half"]
    assert sum(row["n_votes"] for row in counted) == n_plain == results["n_votes"] == 2 * 6 * 36
    assert {vote["role"] for vote in votes} == {"", "gold", "repeat"}


def test_what_may_be_published_names_no_rater(analysed: Path) -> None:
    for path in analysed.rglob("*"):
        if path.suffix in (".json", ".csv", ".html", ".tex") and path.name != "raters.private.csv":
            assert "rater-" not in path.read_text(encoding="utf-8"), path.name
    assert "rater-0,r00" in (analysed / "raters.private.csv").read_text(encoding="utf-8")


def test_names_of_models_are_escaped(analysed: Path) -> None:
    page = (analysed / "report.html").read_text(encoding="utf-8")
    assert "<b>third" not in page
    assert "&lt;b&gt;third&lt;/b&gt; &amp; $x$" in page
    assert r"\$x\$" in (analysed / "tables" / "win_rates.tex").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_scores_of_people_are_rows_like_those_of_metrics(analysed: Path) -> None:
    table = pq.read_table(analysed / "scores.parquet")
    assert table.schema.names == SCORE_SCHEMA.names
    rows = table.to_pandas()
    assert set(rows["metric"]) == {"human.aesthetic", "human.semantic"}
    assert len(rows) == 2 * len(MODELS) * 12
    assert rows.groupby("model")["value"].mean().idxmax() == "ours"
    assert rows["value"].mean() == pytest.approx(0.5)


def test_exclusions_are_on_disk_before_the_key_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study_with(tmp_path / "study")
    (folder / "key.json").rename(tmp_path / "key.json")
    with pytest.raises(UserError, match=r"key\.json: no such file"):
        analyse(config(folder), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "exclusions.json").read_text(encoding="utf-8"))
    assert written["n_raters"] == 6
    assert not (tmp_path / "out" / "results.json").exists()


def test_rules_that_were_changed_after_the_votes_are_refused(tmp_path: Path) -> None:
    folder = study_with(tmp_path / "study")
    known = {f"{name}_sha256": sha256_file(folder / f"{name}.json") for name in ("study", "checks", "key")}
    (folder / "manifest.json").write_text(json.dumps(known), encoding="utf-8")
    assert analyse(config(folder), tmp_path / "out")["is_as_made"]
    checks = json.loads((folder / "checks.json").read_text(encoding="utf-8"))
    checks["rules"]["max_gold_miss_share"] = 1.0
    (folder / "checks.json").write_text(json.dumps(checks), encoding="utf-8")
    with pytest.raises(UserError, match=r"checks\.json: changed since the study was made"):
        analyse(config(folder), tmp_path / "other")


def test_equal_votes_give_equal_bytes(analysed: Path) -> None:
    study, again = analysed.parent / "study", analysed.parent / "again"
    analyse(config(study, published=("paper",), card=analysed.parent / "card.yaml"), again)
    for path in sorted(analysed.rglob("*")):
        if path.is_file() and path.name not in ("manifest.json", ".lock", ".start"):
            assert path.read_bytes() == (again / path.relative_to(analysed)).read_bytes(), path.name


def spoilt(study: Study, votes: Sequence[Vote], how: str) -> list[Vote]:
    """The votes with those of rater-2 as such a rater casts them."""
    theirs = [vote for vote in votes if vote.rater_id == "rater-2"]
    changed = {
        "left": [replace(vote, choice="left") for vote in theirs],
        "fast": [replace(vote, answered_at=vote.shown_at) for vote in theirs],
        "gold": [replace(vote, choice="tie") if vote.pair_id.startswith("gold") else vote for vote in theirs],
        "gone": theirs[: len(theirs) // 2],
        "sound": theirs,
    }
    return [vote for vote in votes if vote.rater_id != "rater-2"] + changed[how]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("left", "100% of 82 votes on one side, over 85%"),
        ("fast", "median of 0.00 s a vote, under 1 s"),
        ("gold", "6 of 6 gold pairs missed, over 34%"),
        ("gone", "50% of the trials answered, under 80%"),
        ("sound", None),
    ],
)
def test_a_rater_is_left_out_by_the_written_rule(how: str, reason: str | None) -> None:
    study, checks, key = simulated_study(MODELS)
    votes = spoilt(study, simulated_votes(study, checks, key, STRENGTHS), how)
    found = {rater.rater_id: rater.reasons for rater in check_raters(votes, study, checks)}
    assert all(not reasons for rater_id, reasons in found.items() if rater_id != "rater-2")
    assert (reason in found["rater-2"]) if reason else not found["rater-2"]


def test_without_any_times_the_rule_on_time_cannot_be_applied() -> None:
    study, checks, key = simulated_study(MODELS)
    votes = [replace(vote, answered_at=vote.shown_at) for vote in simulated_votes(study, checks, key, STRENGTHS)]
    assert all(rater.median_seconds is None and not rater.reasons for rater in check_raters(votes, study, checks))


def test_no_rater_left_is_told_in_one_line(tmp_path: Path) -> None:
    study, checks, key = simulated_study(MODELS)
    votes = [replace(vote, choice="left") for vote in simulated_votes(study, checks, key, STRENGTHS)]
    with pytest.raises(UserError, match="the rules leave none of 6 raters"):
        analyse(config(study_with(tmp_path / "study", votes)), tmp_path / "out")


def test_metrics_of_a_run_are_held_against_the_raters(tmp_path: Path, analysed: Path) -> None:
    folder = study_with(tmp_path / "study")
    people = pq.read_table(analysed / "scores.parquet").to_pandas()
    people = people[people["metric"] == "human.semantic"].assign(metric="mirror")
    (tmp_path / "run").mkdir()
    write_shard(tmp_path / "run" / "scores.parquet", pa.Table.from_pandas(people, SCORE_SCHEMA, preserve_index=False))
    results = analyse(config(folder, results=(tmp_path / "run",)), tmp_path / "out")
    semantic = next(row for row in results["correlations"] if row["axis"] == "semantic")
    assert semantic["metric"] == "mirror"
    assert semantic["tau_b"] > 0.6
    assert "mirror" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_an_unknown_model_and_an_unknown_answer_on_the_card_are_named(tmp_path: Path) -> None:
    folder = study_with(tmp_path / "study")
    with pytest.raises(UsageError, match="expected ours, base"):
        analyse(config(folder, model="nobody"), tmp_path / "out")
    (tmp_path / "card.yaml").write_text("paymnt: 12 pounds an hour\n", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean payment"):
        read_card(tmp_path / "card.yaml")


def test_the_card_says_what_is_told_and_what_is_not(analysed: Path) -> None:
    page = (analysed / "report.html").read_text(encoding="utf-8")
    assert "12 pounds an hour" in page
    assert page.count("not told") > 5


def test_the_cards_screenshot_must_be_a_picture(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("screenshot: shot.png\n", encoding="utf-8")
    (tmp_path / "shot.png").write_bytes(encode(picture(1)))
    url = read_card(tmp_path / "card.yaml").screenshot_url
    assert url is not None
    assert url.startswith("data:image/png;base64,")
    (tmp_path / "shot.png").write_text("<svg onload=alert(1)>", encoding="utf-8")
    with pytest.raises(UserError, match=r"shot\.png: no picture"):
        read_card(tmp_path / "card.yaml")
