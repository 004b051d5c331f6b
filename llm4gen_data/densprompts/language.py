"""Whether a text is sound English and fit to be a prompt, whatever it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from llm4gen_data.densprompts.inflect import article

_FIRST_PERSON = re.compile(r"(?<![\w-])(?:I|[Mm]e|[Mm]y|[Ww]e|us|[Oo]urs?)(?![\w-])")
_LISTS = re.compile(r"[\n\t*{}\[\]<>|_=#•]|https?:|\(?\d\) |^\s*(?:[-+]|\d+\.)\s")
# A prompt that speaks of itself, or as its writer.
_META = ("prompt", "as an ai", "as requested", "caption:", "description:", "here's", "sure, here")
_META_OPENINGS = ("here is ", "here are ", "sure,", "sure!", "certainly")
# Not "inside it are two cups": only where the pronoun begins the sentence.
_DISAGREEMENT = re.compile(
    r"(?:It|She|He) (?:are|were|have)\b|They (?:is|was|has)\b|\b[Tt]here is (?:two|three|four|five|six)\b"
    r"|\b(?:[Tt]hese|[Tt]hose) \w+ (?:is|was|has)\b"
)
_WORD = re.compile(r"\w[\w.'-]*\w|\w")  # with what stands inside it: levi's, e.g
# Words that are right twice in a row.
_MAY_DOUBLE = frozenset({"that", "had"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a prompt is refused: a reason to count by, and what exactly is missing or wrong."""

    reason: str
    what: str


def sentences(prompt: str) -> list[str]:
    """The prompt's sentences, each with its stop; quoted words do not end one."""
    return re.split(r"(?<=[.!?])\s+", prompt.strip())


def check_language(prompt: str) -> list[Problem]:
    """Articles, agreement, doubled words, capitals and stops; no first person, lists, talk of prompts, unfit words."""
    unquoted = re.sub(r'"[^"]*"', '""', prompt)
    problems = [
        Problem("article", match[0])
        for match in re.finditer(r"\b(an?) ([\w'’-]+)", unquoted, re.IGNORECASE)
        if match[1].lower() != article(match[2])
    ]
    for match in re.finditer(r"\b([\w'’-]+) \1\b", prompt, re.IGNORECASE):
        if match[1].lower() not in _MAY_DOUBLE:
            problems.append(Problem("doubled word", match[0]))
    for sentence in sentences(prompt):
        if not re.match(r'"?[A-Z0-9]', sentence):
            problems.append(Problem("capital", sentence[:40]))
        if not sentence.endswith((".", "!", "?", '."', '!"', '?"')):
            problems.append(Problem("stop", sentence[-40:]))
    if re.search(r"\s[,.;:]|[,;:.]{2,}|,\w|\s{2,}", unquoted) or prompt.count('"') % 2:
        problems.append(Problem("punctuation", prompt[:40]))
    for reason, pattern, text in (
        ("agreement", _DISAGREEMENT, unquoted),
        ("first person", _FIRST_PERSON, unquoted),
        ("list", _LISTS, prompt),
    ):
        found = pattern.search(text)
        if found is not None:
            problems.append(Problem(reason, found[0].strip() or prompt[:40]))
    lower = prompt.lower()
    problems += [Problem("speaks of the prompt", phrase.strip()) for phrase in _META if phrase in lower]
    if lower.startswith(_META_OPENINGS):
        problems.append(Problem("speaks of the prompt", prompt[:40]))
    return problems + refused_words(prompt)


def refused_words(text: str) -> list[Problem]:
    """Unsafe words, brands and real persons in a text, by `lexicon/refused.yaml`."""
    words = _WORD.findall(text.lower())
    padded = f" {' '.join(words)} "
    return [
        Problem(reason, word.strip())
        for reason, (single, phrases) in _refused().items()
        for word in (*single.intersection(words), *(phrase for phrase in phrases if phrase in padded))
    ]


def proper_names(prompt: str, known: str) -> list[str]:
    """Capitalized words inside sentences that are not in quotes and not in the text `known`: most often, names."""
    unquoted = re.sub(r'"[^"]*"', "", prompt)
    found = [name for sentence in sentences(unquoted) for name in re.findall(r"(?<=[\w,;:] )[A-Z][\w'-]*", sentence)]
    # By its beginning, so that the plural and the possessive of a known name are known.
    stems = {name: name.removesuffix("'s").removesuffix("s") for name in found}
    return [name for name in found if not re.search(rf"\b{re.escape(stems[name])}", known)]


@cache
def _refused() -> dict[str, tuple[frozenset[str], tuple[str, ...]]]:
    """Of each list the single words and, between spaces, those of several; all with their plurals."""
    file = files("llm4gen_data.densprompts") / "lexicon" / "refused.yaml"
    lists: dict[str, list[str]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    forms = {reason: [word + end for word in words for end in ("", "s", "es")] for reason, words in lists.items()}
    return {
        reason: (frozenset(words), tuple(f" {word} " for word in words if " " in word))
        for reason, words in forms.items()
    }
