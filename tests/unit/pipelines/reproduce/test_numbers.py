from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from pipelines.reproduce.numbers import numbers
from pipelines.reproduce.report import write_report
from pipelines.reproduce.wording import headline
from tests.unit.pipelines.reproduce.toy_records import MEANS, PRESET, recorded, write_toy_record


def test_a_gain_is_found_against_the_best_rival_and_as_a_share() -> None:
    found = numbers(recorded({**MEANS, "e-half": 0.4}))
    assert (found["primary"]["kind"], found["primary"]["n_prompts"]) == ("all_bound", 80)  # of 3 and 4 objects
    (claim,) = found["claim"]
    assert claim["best_rival"] == "s"
    assert claim["less_best"]["low"] > 0.0
    assert claim["less_best"]["p_value"] == max(
        row["p_value"] for row in found["comparisons"] if row["baseline"] in ("r", "s")
    )
    assert 0.4 < claim["share_of_gain"]["mean"] < 0.9
    assert {row["category"] for row in found["by_category"]} == {"dense", "short"}
    assert [row["n_pairs"] for row in found["efficiency"]] == [50, 8000]
    by_kind = {(row["kind"], row["arm"], row["baseline"]): row["mean"] for row in found["comparisons_by_kind"]}
    shares = {(row["kind"], row["arm"]): row["mean"] for row in found["by_kind"]}
    assert by_kind["bound", "e", "r"] == pytest.approx(shares["bound", "e"] - shares["bound", "r"])
    assert all(row["p_holm"] >= row["p_value"] for row in found["comparisons"])
    text = " ".join(headline(PRESET, found))
    assert "A gain that chance does not explain." in text
    assert "% of that" in text


def test_where_there_is_no_gain_that_is_said() -> None:
    found = numbers(recorded(dict.fromkeys(MEANS, 0.3)))
    text = " ".join(headline(PRESET, found))
    assert "Not told from no difference" in text
    assert "At the floor" not in text
    worse = " ".join(headline(PRESET, numbers(recorded({**dict.fromkeys(MEANS, 0.7), "e": 0.1}))))
    assert "It is worse" in worse
    floor = " ".join(headline(PRESET, numbers(recorded(dict.fromkeys(MEANS, -5.0)))))
    assert "At the floor" in floor


def test_the_report_is_made_of_the_record_alone_and_twice_the_same(tmp_path: Path) -> None:
    record = tmp_path / "record"
    write_toy_record(record)
    for out in ("one", "two"):
        write_report(record, tmp_path / out)
    for name in ("results.json", "results.md", "results.png", "examples.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (tmp_path / "one" / "results.md").read_text()
    assert "`all_bound`, reached 1.0% at best on the validation prompts" in text
    for words in (
        "commit abc1234",
        "1.0 hours",
        "e matches c",
        "| o ",
        "## By kind of fact",
        "exchanged in 0.70 [0.60, 0.80]",
        "| 0.3100 ",  # of the seed that all arms have
        "| e less c ",
        "![pictures](examples.png)",
        "| -0.0150 (-0.0200 to -0.0100, 2 seeds) |",  # e less c, seed by seed
        "| 0.2900 ",
    ):
        assert words in text
    source = (
        "*2026-01-02; cpu, a machine; training seeds 0 to 2; commit abc1234;* `python -m pipelines.reproduce --preset"
    )
    assert text.count(source) == text.count("\n|--") >= 5  # below every table
    assert read_json(tmp_path / "one" / "results.json")["title"] == "Does it help?"
    with pytest.raises(UserError, match=r"no scores\.parquet"):
        write_report(tmp_path / "one", tmp_path / "three")
