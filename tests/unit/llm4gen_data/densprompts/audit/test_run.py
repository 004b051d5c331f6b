"""The audit as a whole: what it finds in a sound set, in one that was changed, and without its tools."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llm4gen_data.densprompts.audit import run as audit_run
from llm4gen_data.densprompts.audit.run import AuditConfig, audit
from llm4gen_data.densprompts.config import DensePromptsConfig
from llm4gen_data.densprompts.run import build_densprompts
from llm4gen_data.errors import UserError


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "out"
    build_densprompts(DensePromptsConfig(n=12, seed=5), out)
    return out


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without any of the models."""
    monkeypatch.setattr(audit_run, "default_encoder", lambda: None)
    monkeypatch.setattr(audit_run, "load_pipeline", lambda: None)


def verdicts(run: Path) -> dict[str, dict[str, Any]]:
    told = json.loads((run / "audit" / "audit.json").read_text())
    return {verdict["check"]: verdict for verdict in told["verdicts"]}


def test_without_tools_it_says_what_was_not_run(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit(built, AuditConfig())
    statuses = {check: verdict["status"] for check, verdict in verdicts(built).items()}
    assert statuses == {
        "files": "passed",
        "specifications": "passed",
        "near-duplicates": "passed",
        "public sets": "not run",
        "grammar (Harper)": "not run",
        "semantic near-duplicates": "not run",
        "lemmas and names (spaCy)": "not run",
        "CLIP tokens": "figure",
    }
    assert "| not run | public sets | give --against |" in (built / "audit" / "audit.md").read_text()
    assert "at least" in capsys.readouterr().out


def test_with_everything_each_check_judges(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = (built / "prompts.txt").read_text().splitlines()
    (tmp_path / "public.txt").write_text(f"two dogs\n{ours[3]}\n")
    issue = {"rule": "Agreement", "kind": "x", "message": "do not agree", "problem": "are", "context": "a dog are"}
    monkeypatch.setattr(audit_run, "grammar_issues", lambda prompts, folder: ("9.9", [[issue]] + [[]] * 11))
    monkeypatch.setattr(audit_run, "embed", lambda prompts, encoder: np.eye(12, dtype=np.float32))
    monkeypatch.setattr(audit_run, "load_pipeline", lambda: SimpleNamespace(pipe=_pipe))
    with pytest.raises(UserError, match=r"failed: public sets, grammar \(Harper\); .*audit\.md says why"):
        audit(built, AuditConfig(against=(tmp_path,), harper=tmp_path, encoder="any"))
    told = verdicts(built)
    assert told["public sets"]["figures"]["sets"][0]["nearest"]["ours"] == ours[3]
    assert told["semantic near-duplicates"]["status"] == "passed"
    assert told["things by lemma (spaCy)"]["status"] == "passed"
    assert "| Agreement | 1 | do not agree | are |" in (built / "audit" / "audit.md").read_text()


def test_a_changed_file_and_a_text_that_lacks_its_claims_fail(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_run, "check", lambda prompt, spec: [])
    audit(built, AuditConfig())
    monkeypatch.undo()
    monkeypatch.setattr(audit_run, "default_encoder", lambda: None)
    monkeypatch.setattr(audit_run, "load_pipeline", lambda: None)
    before = (built / "prompts.txt").read_bytes()
    try:
        (built / "prompts.txt").write_bytes(before + b"one more\n")
        with pytest.raises(UserError, match="failed: files"):
            audit(built, AuditConfig())
        assert verdicts(built)["files"]["found"] == "prompts.txt changed"
    finally:
        (built / "prompts.txt").write_bytes(before)


def test_what_is_no_prompt_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished prompt set"):
        audit(tmp_path, AuditConfig())


def _pipe(prompts: Sequence[str], batch_size: int) -> list[Any]:
    """Documents of which every word is its own lemma, without names."""
    import re

    from llm4gen_data.densprompts.vocabulary import lexicon

    nouns = [word for noun in lexicon().nouns for word in re.split(r"[ -]", noun.lower())]
    tokens = [SimpleNamespace(lemma_=noun, lower_=noun) for noun in nouns]
    return [_Doc(tokens) for _ in prompts]


class _Doc(list[Any]):
    text, ents = "", ()
