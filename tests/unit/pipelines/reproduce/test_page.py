"""The page of results is what the command makes of the records beside it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from pipelines.reproduce.numbers import numbers
from pipelines.reproduce.page import page_text, records, write_page
from pipelines.reproduce.report import read_record
from pipelines.reproduce.trust import is_trust
from tests.unit.pipelines.reproduce.toy_records import write_toy_record, write_toy_trust

PAGE = Path(__file__).parents[4] / "docs" / "results.md"


def means(found: Any) -> Iterator[float | None]:
    """All point estimates in the results, in order."""
    if isinstance(found, dict):
        if "mean" in found:
            yield found["mean"]
        found = list(found.values())
    if isinstance(found, list):
        for inner in found:
            yield from means(inner)


def assert_numbers_are_of_the_scores(record: Path) -> None:
    data = read_record(record)
    found = numbers(replace(data, preset=replace(data.preset, n_resamples=2)))  # intervals take minutes; means do not
    kept = list(means({key: value for key, value in read_json(record / "results.json").items() if key in found}))
    assert len(kept) > len(data.preset.chosen_arms())
    assert list(means(found)) == pytest.approx(kept, abs=1e-9)


def test_the_committed_page_is_what_the_command_makes() -> None:
    assert PAGE.is_file() == bool(records(PAGE))
    if PAGE.is_file():
        assert PAGE.read_text(encoding="utf-8") == page_text(PAGE)


def test_the_estimates_of_the_readme_are_those_of_the_page() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    told = readme[readme.index("**Is it the language model?**") :].partition("\n**Can the measures")[0]
    estimates = re.findall(r"\d\.\d{3} \[[^]]+\]", told)
    assert len(estimates) == 51
    page = PAGE.read_text(encoding="utf-8")
    assert [estimate for estimate in estimates if estimate not in page] == []


EXPERIMENTS = [record for record in records(PAGE) if not is_trust(record)]


@pytest.mark.parametrize("record", EXPERIMENTS, ids=lambda record: record.name)
def test_committed_numbers_are_of_the_committed_scores(record: Path) -> None:
    assert_numbers_are_of_the_scores(record)
    assert (record / "results.png").is_file()


def test_page_and_numbers_are_made_of_the_records(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    with pytest.raises(UserError, match="holds no record"):
        write_page(page)
    write_toy_record(tmp_path / "results" / "toy")
    write_page(page)
    text = page.read_text(encoding="utf-8")
    assert text == page_text(page)
    assert "\n## Does it help?\n" in text
    assert "![the arms](results/toy/results.png)" in text
    record = tmp_path / "results" / "toy"
    assert_numbers_are_of_the_scores(record)
    # a number that was changed by hand is found
    told = read_json(record / "results.json")
    told["arms"][0]["mean"] += 0.01
    write_json(record / "results.json", told)
    assert page_text(page) != text
    with pytest.raises(AssertionError):
        assert_numbers_are_of_the_scores(record)


def test_what_the_measures_are_worth_stands_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    write_toy_trust(tmp_path / "results" / "trust")
    write_page(page)
    text = page.read_text(encoding="utf-8")
    assert "\n## Can the measures be believed?\n" in text
    assert "- clip_score, short prompts: better than chance at everything.\n" in text
    judged = (
        "- clip_score=judge, dense prompts: not told from chance at relation (up to 100 % of the prompts were cut)."
    )
    assert judged in text
    assert text.count("*2026-01-02; cpu; commit abc;* `trust`") == 3  # below every table
    assert "![by number of objects](results/trust/calibration.svg)" in text
    assert (tmp_path / "results" / "trust" / "calibration.svg").stat().st_size > 1_000
