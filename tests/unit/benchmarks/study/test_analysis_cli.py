from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.study.cli import study
from llm4gen_data.errors import UsageError
from tests.unit.benchmarks.study.simulated import simulated_study, simulated_votes, write_study

STRENGTHS = {"one": 0.5, "two": -0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = simulated_study(list(STRENGTHS), n_prompts=4, n_raters=3)
    return write_study(tmp_path / "study", *made, simulated_votes(*made, STRENGTHS))


def test_from_downloads_to_a_report_by_commands_alone(tmp_path: Path, folder: Path) -> None:
    download = (folder / "votes.jsonl").rename(tmp_path / "download.jsonl")
    commands: list[list[object]] = [
        ["import", download, "--study", folder, "--out", folder / "votes.jsonl"],
        ["analyse", folder, "--out", tmp_path / "out", "--set", "n_resamples=20", "--published", "paper"],
    ]
    for command in commands:
        result = CliRunner().invoke(study, [str(part) for part in command], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert "24 votes of 3 raters count; 0 raters left out by rule before unblinding" in result.output
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["import", "{file}", "--out", "x"], "expected --study DIR"),
        (["import", "{file}", "--from", "fastchat", "--study", "{study}", "--out", "x"], "a study of its own"),
        (["import", "{file}", "--from", "nobody", "--study", "{study}", "--out", "x"], "source of votes 'nobody'"),
        (["export", "{study}", "--to", "nobody", "--url", "/", "--out", "x"], "service 'nobody'"),
        (["analyse", "{study}", "--set", "n_resampels=3", "--out", "x"], "did you mean n_resamples"),
        (["analyse", "{study}", "--set", "n_resamples=0", "--out", "x"], "expected at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"file": str(folder / "votes.jsonl"), "study": str(folder)}
    line = [part.format(**names) for part in arguments]
    with pytest.raises(UsageError, match=expected):
        CliRunner().invoke(study, line, catch_exceptions=False)
    assert not (tmp_path / "x").exists()
