"""Grammar by Harper (harper.js from npm, run by node): a checker that knows nothing of how we write."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from llm4gen_data.errors import UserError

# Fewer than this many objections a prompt.
MAX_ISSUES_A_PROMPT = 1 / 20
N_EXAMPLES = 40
TIMEOUT_S = 1800
_SCRIPT = Path(__file__).with_name("harper.mjs")


@cache
def accepted() -> tuple[list[str], dict[str, re.Pattern[str]], dict[str, re.Pattern[str]]]:
    """What Harper objects to and we keep (accepted.yaml): words; by rule, what is objected to; by rule, where."""
    kept: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("accepted.yaml").read_text(encoding="utf-8"))
    problems, contexts = (
        {rule: re.compile(rf"(?:{'|'.join(patterns)}){end}", re.IGNORECASE) for rule, patterns in kept[where].items()}
        for where, end in (("problems", "(?:e?s)?"), ("contexts", ""))
    )
    return kept["words"], problems, contexts


def is_accepted(issue: dict[str, str]) -> bool:
    """Whether an objection is one of those that we know and keep."""
    _, problems, contexts = accepted()
    rule = issue["rule"]
    if rule in problems and problems[rule].fullmatch(issue["problem"]):
        return True
    return rule in contexts and contexts[rule].search(issue["context"]) is not None


def grammar_issues(prompts: Sequence[str], folder: Path) -> tuple[str, list[list[dict[str, str]]]]:
    """Harper's version and, for each prompt, what it objects to: {rule, kind, message, problem, context}.

    `folder` is where `npm install harper.js` was run. Raises UserError without node, or if Harper cannot be run.
    """
    node = shutil.which("node")
    if node is None:
        raise UserError("the grammar checker needs node on the PATH (https://nodejs.org)")
    if not (folder / "node_modules" / "harper.js" / "package.json").is_file():
        raise UserError(f"{folder}: no node_modules/harper.js here; run `npm install harper.js` in that folder")
    words, _, _ = accepted()
    lines = json.dumps(words) + "\n" + "".join(json.dumps({"text": prompt}) + "\n" for prompt in prompts)
    command = [node, str(_SCRIPT), str(folder.resolve())]
    try:
        ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{folder}: harper.js did not finish within {TIMEOUT_S} s") from error
    written = ended.stdout.strip().split("\n")  # splitlines would also cut inside a prompt, at U+2028
    if ended.returncode != 0 or len(written) != len(prompts) + 1:
        told = re.search(r"^\w*Error.*", ended.stderr, re.MULTILINE)
        why = told[0] if told else f"{len(written)} lines of output, expected {len(prompts) + 1}"
        raise UserError(f"{folder}: harper.js failed under node: {why}")
    return json.loads(written[0])["version"], [json.loads(line) for line in written[1:]]


def grammar_figures(issues: Sequence[Sequence[dict[str, str]]]) -> dict[str, Any]:
    """Objections in all, a prompt and by rule, the commonest first, with what was objected to; accepted ones apart."""
    found = list(chain.from_iterable(issues))
    counted = [issue for issue in found if not is_accepted(issue)]
    by_rule: dict[str, list[dict[str, str]]] = defaultdict(list)
    for issue in counted:
        by_rule[issue["rule"]].append(issue)
    rules = [
        {
            "rule": rule,
            "n": len(own),
            "message": own[0]["message"],
            "problems": dict(Counter(issue["problem"] for issue in own).most_common(N_EXAMPLES)),
            "contexts": sorted({issue["context"] for issue in own})[:N_EXAMPLES],
        }
        for rule, own in sorted(by_rule.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return {
        "n_issues": len(counted),
        "issues_a_prompt": round(len(counted) / len(issues), 4),
        "n_accepted": len(found) - len(counted),
        "accepted": dict(Counter(issue["rule"] for issue in found if is_accepted(issue)).most_common()),
        "rules": rules,
    }
