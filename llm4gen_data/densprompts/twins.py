"""Counterfactual twins: the same prompt with one claim turned round, to see whether a metric notices.

A picture of the prompt should lose exactly the questions that the twin makes wrong. The twin's text is the prompt's
own, whoever wrote it, edited in one place; `check.py` must find the new claim in it and miss the old one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.inflect import NUMBER_WORDS, PRONOUNS, article
from llm4gen_data.densprompts.questions import Question, questions
from llm4gen_data.densprompts.spec import Entity, Spec

COLORS, RELATION, COUNT = "colors swapped", "relation mirrored", "count changed"
KINDS = (COLORS, RELATION, COUNT)
MIRRORED = {
    "left of": "right of",
    "right of": "left of",
    "behind": "in front of",
    "in front of": "behind",
    "on": "under",
    "under": "on",
    "above": "under",
}
# Comparisons that another color or number could make false; what takes part in one is left alone.
_FIXES_COLOR, _FIXES_COUNT = "same color as", "more numerous than"
# Words that say a number again without a numeral.
_NUMBER_AGAIN = re.compile(r"\bboth (?:of|the)\b|\bthe (?:pair|couple|duo|trio|quartet)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Twin:
    """A prompt's twin: what it says now, and the prompt's questions that are wrong of it."""

    twin_id: str
    kind: str
    prompt: str
    spec: Spec
    false_question_ids: tuple[str, ...]


def twins(prompt_id: str, prompt: str, spec: Spec, asked: Sequence[Question]) -> list[Twin]:
    """At most one twin of each kind, in the order of KINDS; none where the claim cannot be turned round cleanly.

    `asked` are the questions of `spec`.
    """
    made = []
    for kind, variants in (
        (COLORS, _colors(prompt, spec)),
        (RELATION, _relations(prompt, spec)),
        (COUNT, _counts(prompt, spec)),
    ):
        for text, other in variants:
            still_true = {question.question for question in questions(other)}
            false_ids = tuple(question.question_id for question in asked if question.question not in still_true)
            # The old claims must be gone from the text, each of them, and nothing else be missing.
            if not check(text, other) and len(check(text, spec)) == len(false_ids):
                made.append(Twin(f"{prompt_id}-{kind.split()[0]}", kind, text, other, false_ids))
                break
    return made


def _colors(prompt: str, spec: Spec) -> Iterator[tuple[str, Spec]]:
    fixed = _things_in(spec, _FIXES_COLOR)
    colored = [(i, e.color) for i, e in enumerate(spec.entities) if e.color is not None and i not in fixed]
    for (i, first), (j, second) in combinations(colored, 2):
        if set(first.split()) & set(second.split()):  # "blue" and "dark blue"
            continue
        swapped = _with(_with(spec, i, color=second), j, color=first)
        yield _reworded(prompt, {first: second, second: first}), swapped


def _counts(prompt: str, spec: Spec) -> Iterator[tuple[str, Spec]]:
    if _NUMBER_AGAIN.search(prompt):
        return
    fixed = _things_in(spec, _FIXES_COUNT)
    for i, entity in enumerate(spec.entities):
        if entity.count > 1 and i not in fixed:
            for count in (entity.count + 1, entity.count - 1):
                if count > 1 and count in NUMBER_WORDS:
                    words = {NUMBER_WORDS[entity.count]: NUMBER_WORDS[count]}
                    yield _reworded(prompt, words), _with(spec, i, count=count)


def _relations(prompt: str, spec: Spec) -> Iterator[tuple[str, Spec]]:
    for number, relation in enumerate(spec.relations):
        mirrored = MIRRORED.get(relation.name)
        if mirrored is None:
            continue
        changed = tuple(replace(r, name=mirrored) if n == number else r for n, r in enumerate(spec.relations))
        other = replace(spec, relations=changed)
        pairs = _wordings(relation.name, mirrored, spec.entities[relation.object])
        # The longest first: "right in front of" before "in front of". The check tells whose phrase it is.
        for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
            for match in re.finditer(rf"\b{re.escape(old)}\b", prompt, re.IGNORECASE):
                yield prompt[: match.start()] + _cased(match[0], new) + prompt[match.end() :], other


def _wordings(name: str, mirrored: str, thing: Entity) -> set[tuple[str, str]]:
    """(how the relation is said, how its mirror image is) up to the name of the other thing, or with a pronoun."""
    _, obj, poss = PRONOUNS[thing.pronoun]
    by_name = [
        (old.removesuffix("{ref}").rstrip(), new.removesuffix("{ref}").rstrip())
        for old, new in _aligned(rel.SPATIAL[name], rel.SPATIAL[mirrored])
    ]
    by_pronoun = [
        (old.format(obj=obj, poss=poss), new.format(obj=obj, poss=poss))
        for old, new in _aligned(rel.SPATIAL_PRONOUN[name], rel.SPATIAL_PRONOUN[mirrored])
    ]
    return {*by_name, *by_pronoun}


def _aligned(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each wording with its counterpart; those without one with the plainest."""
    return ((wording, new[n] if n < len(new) else new[0]) for n, wording in enumerate(old))


def _things_in(spec: Spec, relation: str) -> set[int]:
    return {i for r in spec.relations if r.name == relation for i in (r.subject, r.object)}


def _with(spec: Spec, index: int, **values: str | int) -> Spec:
    entities = (replace(e, **values) if i == index else e for i, e in enumerate(spec.entities))  # type: ignore[arg-type]
    return replace(spec, entities=tuple(entities))


def _reworded(prompt: str, words: dict[str, str]) -> str:
    """The prompt with phrases exchanged, all at once, and the articles before them set right; quotes stay."""
    names = "|".join(re.escape(name) for name in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf'"[^"]*"|\b(an? )?({names})(?![\w-])', re.IGNORECASE)

    def exchanged(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        new = _cased(match[2], words[match[2].lower()])
        return f"{_cased(match[1], article(new))} {new}" if match[1] else new

    return pattern.sub(exchanged, prompt)


def _cased(old: str, new: str) -> str:
    return new[0].upper() + new[1:] if old[0].isupper() else new
