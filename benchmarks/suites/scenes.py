"""Prompts about drawn scenes, whose pictures can be held against what was asked, fact by fact."""

from __future__ import annotations

from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.records import Prompt

# Its pairs are seen, its words are not.
UNSEEN_WORDS = "unseen words"


def seen_or_unseen(prompt: Prompt) -> str | None:
    """ "unseen" for words, or an attribute on a shape, that training scenes never hold; None without facts."""
    from llm4gen_data.errors import UserError
    from llm4gen_data.scenes.facts import facts_from_json
    from llm4gen_data.scenes.vocabulary import is_held_out

    try:
        facts = facts_from_json(prompt.spec or "")
    except (UserError, RecursionError):
        return None
    held_out = any(is_held_out(o.shape or "", o.color or "", o.texture or "") for o in facts.objects)
    return "unseen" if held_out or prompt.category == UNSEEN_WORDS else "seen"


SUITE = Suite(
    metrics=("scene_reader", "clip_score"), prompts="scenes", n_prompts=100, group=by_category, split=seen_or_unseen
)
