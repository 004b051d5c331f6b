"""Studies against the services' own software, where an interpreter has it; each needs an environment of its own.

LLM4GEN_LABEL_STUDIO_PYTHON: with label-studio-sdk; LLM4GEN_LABEL_STUDIO_SERVER_PYTHON: with label-studio;
LLM4GEN_ARGILLA_PYTHON: with argilla.
"""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from benchmarks.study.exports import export_study
from benchmarks.study.imports import import_votes
from benchmarks.study.records import read_study, read_votes, trials_of
from tests.unit.benchmarks.study.simulated import simulated_study, simulated_votes, write_study

SCRIPTS = Path(__file__).parent / "study_services"
MODELS = {"one": 0.5, "two": -0.5}


def interpreter(variable: str) -> str:
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no interpreter")
    return python


def exported(folder: Path, service: str) -> Path:
    made = simulated_study(list(MODELS), n_prompts=4, n_raters=2)
    write_study(folder / "study", *made, simulated_votes(*made, MODELS))
    export_study(service, folder / "study", "https://example.org/images", folder / "export")
    return folder / "export"


@pytest.mark.parametrize(
    ("service", "variable"),
    [("label-studio", "LLM4GEN_LABEL_STUDIO_PYTHON"), ("argilla", "LLM4GEN_ARGILLA_PYTHON")],
)
def test_the_sdk_takes_the_export_and_its_answers_come_back(tmp_path: Path, service: str, variable: str) -> None:
    python = interpreter(variable)
    folder = exported(tmp_path, service)
    subprocess.run([python, SCRIPTS / "sdk.py", service, folder], check=True, timeout=120, capture_output=True)
    import_votes(service, [folder / "answers.json"], tmp_path / "study", tmp_path / "votes.jsonl")
    study = read_study(tmp_path / "study")
    votes = read_votes(tmp_path / "votes.jsonl", study)
    assert {vote.trial_id for vote in votes} == set(trials_of(study))
    assert {vote.choice for vote in votes} == {"left", "right", "tie"}
    assert len({vote.rater_id for vote in votes}) == 2


def test_a_label_studio_server_takes_the_export_and_its_export_comes_back(tmp_path: Path) -> None:
    python = interpreter("LLM4GEN_LABEL_STUDIO_SERVER_PYTHON")
    folder = exported(tmp_path, "label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    subprocess.run([python, SCRIPTS / "label_studio_server.py", folder, port], check=True, timeout=400)
    import_votes("label-studio", [folder / "server.json"], tmp_path / "study", tmp_path / "votes.jsonl")
    votes = read_votes(tmp_path / "votes.jsonl", read_study(tmp_path / "study"))
    chosen = json.loads((folder / "chosen.json").read_text(encoding="utf-8"))
    assert {vote.trial_id: vote.choice for vote in votes} == chosen
    assert all(vote.seconds == pytest.approx(2.5) for vote in votes)
