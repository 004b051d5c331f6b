"""The grammar writer: turns a specification into English without a model.

The text follows from the specification and the attempt alone; whether it is right is for `check.py` to say.
"""

from __future__ import annotations

import random

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.spec import Spec
from llm4gen_data.densprompts.writers.draft import Draft
from llm4gen_data.densprompts.writers.openings import open_draft
from llm4gen_data.densprompts.writers.sentences import (
    bring_in,
    say_detail,
    say_light,
    say_missing,
    say_owned,
    say_relation,
    say_style,
)


def write(spec: Spec, attempt: int = 0) -> str:
    """A prompt that says all of `spec`; each attempt words it differently."""
    rng = random.Random(f"{spec.spec_id}-{attempt}")
    details = list(spec.details)
    rng.shuffle(details)
    draft = Draft(spec, rng, details=details)
    open_draft(draft)
    say_owned(draft, 0)
    if rng.random() < 0.2:
        say_light(draft)
    if rng.random() < 0.15:
        say_style(draft)
    for i in range(1, len(spec.entities)):
        if any(r.object == i and r.name in (rel.WEARING, rel.HOLDING) for r in spec.relations):
            continue
        if draft.last is not None and rng.random() < 0.5:
            say_missing(draft, draft.last)
        if draft.details and rng.random() < 0.4:
            say_detail(draft)
        bring_in(draft, i)
        say_owned(draft, i)
    for i in range(len(spec.entities)):
        say_missing(draft, i)
    for relation in spec.relations:
        if relation not in draft.said:
            say_relation(draft, relation)
    _close(draft)
    return " ".join(draft.sentences)


def _close(draft: Draft) -> None:
    """The details that are left, light and style, in an order of their own."""
    if draft.rng.random() < 0.5:
        say_light(draft)
    while draft.details:
        say_detail(draft)
    say_light(draft)
    say_style(draft)
