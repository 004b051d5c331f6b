"""Readers of captions: which words name a thing, and which say what it is like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm4gen_data.densprompts.audit.linguistic import PIPELINES, load_pipeline
from llm4gen_data.errors import UserError
from llm4gen_data.scenes.spans import entity_spans

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

Span = tuple[int, int]
Pair = tuple[Span, Span]
"""The characters [start, end) of an entity, and of one attribute of it."""

READERS = {
    "scenes": "llm4gen_model.training.entity_readers:scenes_reader",
    "spacy": "llm4gen_model.training.entity_readers:spacy_reader",
}
# "red ball", "steel bridge", "ice-cold drink", "the ball is red"; as SynGen (arXiv 2306.08877) but for numbers
ATTRIBUTE_RELATIONS = ("amod", "compound", "nmod")
NOUNS = ("NOUN", "PROPN")
BATCH_SIZE = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """A way to read captions; `identity` is what decides the pairs, as JSON values."""

    identity: dict[str, Any]
    read: Callable[[Sequence[str]], list[list[Pair]]]


def scenes_reader() -> Reader:
    """Reads what `llm4gen-data scenes` and models taught by it write, exactly; of other captions little."""
    return Reader({"reader": "scenes", "version": 1}, lambda texts: [entity_spans(text) for text in texts])


def spacy_reader() -> Reader:
    """Reads English with spaCy's small pipeline. Raises UserError if it is not installed."""
    pipeline = load_pipeline()
    if pipeline is None:
        raise UserError(
            f"entity_loss.pairs: spacy needs spaCy and one of {', '.join(PIPELINES)}: pip install 'llm4gen[spacy]'"
        )
    for name in ("ner", "lemmatizer"):
        if name in pipeline.pipe_names:
            pipeline.disable_pipe(name)
    identity = {"reader": "spacy", "pipeline": pipeline.meta["name"], "version": pipeline.meta["version"]}
    return Reader(identity, lambda texts: [_doc_pairs(doc) for doc in pipeline.pipe(texts, batch_size=BATCH_SIZE)])


def _doc_pairs(doc: Doc) -> list[Pair]:
    """For every noun its adjectives and the nouns before it, and what a clause says it is; also what "and" joins."""
    pairs: list[Pair] = []
    for noun in doc:
        if noun.pos_ in NOUNS:
            said = [child for child in noun.children if child.dep_ in ATTRIBUTE_RELATIONS]
            if noun.dep_ == "nsubj":
                said += [child for child in noun.head.children if child.dep_ == "acomp"]
            for attribute in said:
                pairs += [(_span(noun, noun), _span(word.left_edge, word)) for word in _with_joined(attribute)]
    return sorted(set(pairs))


def _with_joined(word: Token) -> Iterator[Token]:
    yield word
    for child in word.children:
        if child.dep_ == "conj":
            yield from _with_joined(child)


def _span(first: Token, last: Token) -> Span:
    return first.idx, last.idx + len(last)
