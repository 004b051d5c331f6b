"""Cut a caption into the words that matter: what they name, in canonical form, each with its kind."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from llm4gen_data.scenes.phrases import GROUNDS
from llm4gen_data.scenes.vocabulary import COLORS, HELD_OUT_SYNONYMS, SHAPES, SYNONYMS, TEXTURES
from llm4gen_data.scenes.wording import NUMBER_WORDS, plural

TokenKind = Literal[
    "shape",
    "shapes",
    "color",
    "texture",
    "size",
    "marks",  # of a texture: "stripes"
    "a",
    "the",
    "number",
    "one",
    "thing",
    "pronoun",
    "name",  # "former", "first", ...
    "everything",
    "order",  # "from left to right"
    "relation",
    "relation to it",
    "neighbor",
    "with",
    "forward",  # what comes before it describes what comes after: "red is the color of the circle"
    "joint",
    "break",  # between clauses
    "word",
]


@dataclass(frozen=True, slots=True)
class Token:
    """A word or phrase: its kind, and what it means in canonical form (the text itself for plain words)."""

    kind: TokenKind
    value: str


_MARKS = {"stripes": "striped", "bands": "striped", "dots": "dotted", "spots": "dotted", "checks": "checkered"}
_MARKS |= {"checkerboard pattern": "checkered", "rim": "outlined", "outline": "outlined"}
_MARKS |= {"no pattern": "solid", "no marks": "solid", "nothing but one even tone": "solid", "one even tone": "solid"}
_MARKS |= {"any pattern": "solid", "marks": "solid"}

_RELATIONS = {
    "left of": ("to the left of", "on the left of", "left of", "to the left", "on the left"),
    "right of": ("to the right of", "on the right of", "right of", "to the right", "on the right"),
    "above": ("above", "higher up than", "higher than"),
    "below": ("below", "beneath", "underneath", "under", "lower down than", "lower than"),
}
_RELATIONS_TO_IT = {
    "left of": ("to its left", "on its left", "to their left", "on their left"),
    "right of": ("to its right", "on its right", "to their right", "on their right"),
}
_TONE = r"(?:gray|beige|pale blue|sage|lilac)"
_IS_PLAIN = r"(?: (?:that |which )?is (?:even|plain|solid|uniform)\b)?"
# What is cut out before words are looked at: places in the frame, backgrounds, idioms that hold a word of ours.
CUT_OUT = [
    re.compile(
        r"\b(?:in|at|near|on) the (?:(?:upper|lower|top|bottom) (?:left|right)(?: corner)?|top|bottom|middle|center"
        r"|(?:left|right|upper|lower) (?:side|edge|part|half))(?: of the (?:frame|picture|image|drawing|scene))?\b"
    ),
    re.compile("(?:" + "|".join(re.escape(g) for grounds in GROUNDS.values() for g in grounds) + ")" + _IS_PLAIN),
    re.compile(
        rf"\b(?:(?:even|plain|light|soft|muted|uniform) )*(?:{_TONE} )?(?:background|backdrop|ground)\b" + _IS_PLAIN
    ),
    re.compile(rf"\b(?:light )?{_TONE}\b(?! (?:stripe|band|dot|spot|check|rim|outline|line))"),
    re.compile(r"(?<=bands) cross\b"),
    re.compile(r"\bin plain sight\b|\bthe first thing one notices\b|\bat first glance\b|\blook first\b"),
]


@cache
def phrase_tokens() -> tuple[dict[str, Token], re.Pattern[str]]:
    """Every phrase with its token, and a pattern that finds the longest of them."""
    found: dict[str, Token] = {}
    for words in (SYNONYMS, HELD_OUT_SYNONYMS):
        for canonical, synonyms in words.items():
            for synonym in synonyms:
                if canonical in SHAPES:
                    found[synonym] = Token("shape", canonical)
                    found[plural(synonym)] = Token("shapes", canonical)
                else:
                    found[synonym] = Token(attribute_of(canonical), canonical)
    found |= {phrase: Token("marks", texture) for phrase, texture in _MARKS.items()}
    for relation, phrases in _RELATIONS.items():
        found |= {phrase: Token("relation", relation) for phrase in phrases}
    for relation, phrases in _RELATIONS_TO_IT.items():
        found |= {phrase: Token("relation to it", relation) for phrase in phrases}
    found |= {word: Token("number", str(n)) for n, word in NUMBER_WORDS.items() if n > 1}
    found |= {word: Token("one", word) for word in ("one", "ones")}
    found |= {word: Token("thing", word) for word in ("object", "figure", "shape", "objects", "figures", "shapes")}
    found |= {word: Token("pronoun", "it") for word in ("it", "its", "itself")}
    found |= {word: Token("pronoun", "they") for word in ("they", "them", "their")}
    found |= {word: Token("pronoun", "which") for word in ("which", "whose")}
    found |= {word: Token("name", word) for word in ("former", "latter", "first", "second", "third", "fourth", "last")}
    found |= {
        phrase: Token("everything", phrase) for phrase in ("both", "all of them", "all two", "all three", "all four")
    }
    found |= {phrase: Token("forward", phrase) for phrase in ("belongs to", "the color of", "chosen for", "that of")}
    found |= {word: Token("joint", word) for word in (",", "and")}
    found |= {word: Token("break", word) for word in (";", ":", "while", "whereas", "but", "unlike")}
    found |= {"from left to right": Token("order", "left of"), "from top to bottom": Token("order", "above")}
    found |= {"a": Token("a", "a"), "an": Token("a", "an"), "the": Token("the", "the"), "with": Token("with", "with")}
    found["without"] = Token("with", "with")
    found |= {word: Token("neighbor", word) for word in ("neighbor", "neighbour")}
    longest_first = sorted(found, key=len, reverse=True)
    alternatives = "|".join(re.escape(phrase) for phrase in longest_first)
    return found, re.compile(rf"\b(?:{alternatives})\b|[,;:]|\w+")


def attribute_of(canonical: str) -> Literal["color", "texture", "size"]:
    """Which attribute a canonical word is a value of."""
    if canonical in COLORS:
        return "color"
    return "texture" if canonical in TEXTURES else "size"


def sentences(text: str) -> Iterator[list[Token]]:
    """The tokens of each sentence, without places in the frame and backgrounds."""
    tokens, pattern = phrase_tokens()
    for sentence in re.split(r"[.!?]+(?:\s|$)|\n", text.lower().replace("_", " ")):
        for cut_out in CUT_OUT:
            sentence = cut_out.sub(" ", sentence)
        found = pattern.findall(re.sub(r"\s+", " ", sentence))
        if found:
            yield [tokens.get(phrase, Token("word", phrase)) for phrase in found]


def background_of(text: str) -> str | None:
    """The background (a name in `BACKGROUNDS`) that a caption tells of, None where it tells of none we know."""
    lowered = text.lower()
    tones = frozenset(re.findall(CUT_OUT[3], lowered))
    tones = frozenset(tone.removeprefix("light ") for tone in tones)
    if tones == {"pale blue", "beige"}:
        return "dawn gradient" if re.search(r"\b(?:fade|melt|begin|start)", lowered) else "horizon"
    if tones == {"lilac", "sage"}:
        return "split"
    if tones == {"gray"} and re.search(r"\b(?:turns darker|darkens|deepens)\b", lowered):
        return "gray gradient"
    return next(iter(tones)) if len(tones) == 1 else None
