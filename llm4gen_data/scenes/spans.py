"""Which characters of a caption name an object, and which say of it what it is like."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm4gen_data.scenes.lexicon import CUT_OUT, Token, phrase_tokens
from llm4gen_data.scenes.parse import Reader, read_sentence

Span = tuple[int, int]


class PlacedWord(str):
    """A word's canonical form that knows where [start, end) in the text it was read."""

    span: Span

    def __new__(cls, value: str, span: Span) -> PlacedWord:
        """The word `value`, read at `span`."""
        word = super().__new__(cls, value)
        word.span = span
        return word


def entity_spans(text: str) -> list[tuple[Span, Span]]:
    """For every attribute that a caption gives an object, the characters of (object, attribute), in order.

    The object's are those of its first mention with a shape. Read as `parse.read_caption` reads; empty for a text
    without claims.
    """
    pairs = []
    for unit in read_placed(text).units:
        if isinstance(unit.shape, PlacedWord):
            attributes = (value for value in unit.attributes.values() if isinstance(value, PlacedWord))
            pairs += [(unit.shape.span, attribute.span) for attribute in attributes]
    return sorted(set(pairs))


def read_placed(text: str) -> Reader:
    """What `parse.read_caption` reads, with a PlacedWord for every shape and attribute that the text names."""
    reader = Reader()
    if len(text.lower()) != len(text):  # a few capitals of other alphabets become two characters
        return reader
    for tokens in _placed_sentences(text):
        # the reader hands the values of tokens on as they are, places and all
        read_sentence(reader, tokens)
    return reader


def _placed_sentences(text: str) -> Iterator[list[Token]]:
    """As `lexicon.sentences`, with a PlacedWord for the value of every token."""
    tokens, pattern = phrase_tokens()
    lowered = text.lower().replace("_", " ")
    start = 0
    for end in [*re.finditer(r"[.!?]+(?:\s|$)|\n|$", lowered)]:
        sentence = lowered[start : end.start()]
        for cut_out in CUT_OUT:
            sentence = cut_out.sub(lambda match: " " * len(match[0]), sentence)
        # of several spaces the first stays, so that phrases of several words are found across what was cut out
        kept = [i for i, c in enumerate(sentence) if not c.isspace() or i == 0 or not sentence[i - 1].isspace()]
        joined = "".join(" " if sentence[i].isspace() else sentence[i] for i in kept)
        found = []
        for match in pattern.finditer(joined):
            token = tokens.get(match[0], Token("word", match[0]))
            span = (start + kept[match.start()], start + kept[match.end() - 1] + 1)
            found.append(Token(token.kind, PlacedWord(token.value, span)))
        if found:
            yield found
        start = end.end()
