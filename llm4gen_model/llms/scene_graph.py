"""The oracle: what a perfect reader makes of a text about drawn scenes, as tokens of its scene graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from llm4gen_data.scenes.facts import Facts, ObjectFact, caption_facts
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, COLORS, SHAPES, SIZES, TEXTURES
from llm4gen_model.llm import LLMSettings

MAX_OBJECTS = 8  # so many have a number of their own; a scene holds four
WORDS = (("shape", SHAPES), ("color", tuple(COLORS)), ("texture", TEXTURES), ("size", SIZES))
RELATIONS = ("left of", "above")
KINDS = ("start", "object", "relation", "background")
OBJECT_WIDTH = MAX_OBJECTS + sum(len(words) for _, words in WORDS)
WIDTH = len(KINDS) + 2 * OBJECT_WIDTH + len(RELATIONS) + len(BACKGROUNDS)
# About a tenth of the numbers of a token are not zero: so scaled, they vary as a language model's do.
SCALE = math.sqrt(10)


class SceneGraph:
    """A start token, one for each object, relation and background that a text states, as an `llm.LanguageModel`.

    The text is read by the scenes' own grammar, held-out synonyms included, so that the tokens are those of the true
    scene graph as far as the text tells it: the most that any language model could pass on. A text that is not about
    a scene is its start token alone.
    """

    name = "scene-graph"
    pads = False
    width = WIDTH

    def __init__(self, settings: LLMSettings) -> None:
        self.max_tokens = settings.max_tokens

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values."""
        return {"name": self.name, "width": self.width, "max_tokens": self.max_tokens, "version": 1}

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Tokens [n_i, width] of every text, float32, in the order given."""
        return [graph_tokens(caption_facts(text))[: self.max_tokens] for text in texts]

    def token_spans(self, text: str) -> list[tuple[int, int] | None]:
        """None for every token: a fact may be told in several places."""
        return [None] * len(self.encode([text])[0])


def scene_graph(settings: LLMSettings, device: str) -> SceneGraph:
    """The oracle; there is nothing to be loaded."""
    return SceneGraph(settings)


def graph_tokens(facts: Facts) -> torch.Tensor:
    """The tokens [n, WIDTH] of a scene graph: start, objects, relations, background."""
    objects = facts.objects[:MAX_OBJECTS]
    rows = [_token("start")]
    rows += [_token("object", subject=(number, fact)) for number, fact in enumerate(objects)]
    for a, relation, b in sorted(facts.relations):
        if max(a, b) < len(objects):
            rows.append(_token("relation", subject=(a, objects[a]), relation=relation, other=(b, objects[b])))
    if facts.background is not None:
        rows.append(_token("background", background=facts.background))
    return SCALE * torch.tensor(rows)


def _token(
    kind: str,
    *,
    subject: tuple[int, ObjectFact] | None = None,
    relation: str | None = None,
    other: tuple[int, ObjectFact] | None = None,
    background: str | None = None,
) -> list[float]:
    return [
        *_one_hot(kind, KINDS),
        *_object(subject),
        *_one_hot(relation, RELATIONS),
        *_object(other),
        *_one_hot(background, tuple(BACKGROUNDS)),
    ]


def _object(numbered: tuple[int, ObjectFact] | None) -> list[float]:
    if numbered is None:
        return [0.0] * OBJECT_WIDTH
    number, fact = numbered
    words = [value for name, known in WORDS for value in _one_hot(getattr(fact, name), known)]
    return [*_one_hot(number, tuple(range(MAX_OBJECTS))), *words]


def _one_hot(value: object, known: Sequence[object]) -> list[float]:
    return [float(value == entry) for entry in known]
