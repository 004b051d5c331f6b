"""Harper, faked: how it is called, how what it says is counted, what happens where it is not there."""

import json
import shutil
from pathlib import Path

import pytest

from llm4gen_data.densprompts.audit.grammar import accepted, grammar_figures, grammar_issues
from llm4gen_data.errors import UserError

# Objects to every "bad" that is not among the words imported, as harper.js tells it.
FAKE = """
export const Dialect = { American: 0 };
export class LocalLinter {
  async setup() {}
  async importWords(words) { this.words = words; }
  async organizedLints(text) {
    const at = text.indexOf("bad");
    if (at < 0) return {};
    return { SpellCheck: [{
      lint_kind: () => "Spelling", message: () => `of ${this.words.length} words`, get_problem_text: () => "bad",
      span: () => ({ start: at, end: at + 3 }), free: () => {},
    }] };
  }
}
"""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def install(folder: Path, code: str) -> Path:
    package = folder / "node_modules" / "harper.js"
    package.mkdir(parents=True)
    exports = {".": {"import": "./index.js"}, "./binary": {"import": "./binary.js"}}
    (package / "package.json").write_text(json.dumps({"version": "9.9", "type": "module", "exports": exports}))
    (package / "index.js").write_text(code)
    (package / "binary.js").write_text("export const binary = {};")
    return folder


@needs_node
def test_every_prompt_has_its_issues_in_order(tmp_path: Path) -> None:
    prompts = ["A good one.", 'It is "café" bad here.\u2028Still.', "Good."]
    version, issues = grammar_issues(prompts, install(tmp_path, FAKE))
    assert version == "9.9"
    assert [len(own) for own in issues] == [0, 1, 0]
    assert issues[1][0]["rule"] == "SpellCheck"
    assert issues[1][0]["message"] == f"of {len(accepted()[0])} words"
    assert issues[1][0]["context"] == prompts[1]


@needs_node
def test_a_checker_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"harper\.js failed under node: Error: out of order"):
        grammar_issues(
            ["A."], install(tmp_path, FAKE.replace("async setup() {}", "setup() { throw Error('out of order'); }"))
        )


def test_without_node_or_harper_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/true")
    with pytest.raises(UserError, match=r"npm install harper\.js"):
        grammar_issues(["A."], tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs node"):
        grammar_issues(["A."], tmp_path)


def test_accepted_objections_are_counted_apart() -> None:
    def issue(rule: str, problem: str, context: str) -> dict[str, str]:
        return {"rule": rule, "kind": "x", "message": f"about {rule}", "problem": problem, "context": context}

    told = grammar_figures(
        [
            [issue("CompoundNouns", "fire truck", "a red fire truck stands")],
            [issue("CompoundNouns", "rain bow", "a rain bow stands"), issue("Agreement", "are", "the dog are")],
            [],
            [issue("CompoundNouns", "rain bow", "one rain bow")],
        ]
    )
    assert (told["n_issues"], told["n_accepted"], told["issues_a_prompt"]) == (3, 1, 0.75)
    assert told["accepted"] == {"CompoundNouns": 1}
    assert [(r["rule"], r["n"], r["problems"]) for r in told["rules"]] == [
        ("CompoundNouns", 2, {"rain bow": 2}),
        ("Agreement", 1, {"are": 1}),
    ]


def test_accepted_rules_object_to_something() -> None:
    words, problems, contexts = accepted()
    assert len(words) == len({word.lower() for word in words})
    assert all(not pattern.fullmatch("") for pattern in problems.values())
    assert all(not pattern.search("") for pattern in contexts.values())
