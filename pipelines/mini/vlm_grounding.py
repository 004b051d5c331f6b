"""Which words of a text name objects of its scene, and an auxiliary head that reads those objects off such words.

The head teaches the text tower to look objects up in the image where they are named; to compare two objects that have
been looked up is then a small step. It is no part of the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from llm4gen_data.scenes.lexicon import CUT_OUT, phrase_tokens
from llm4gen_data.scenes.sample import Scene, SceneObject
from llm4gen_data.scenes.vocabulary import FRAME_PX
from pipelines.mini.vlm import GRID_SIZE
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT

MAX_OBJECTS = 4
TOLD = ("color", "texture", "size")  # the shape is the word itself
# How many objects a phrase fits; the first image token that holds one; left, right, top and bottom of their centres,
# -0.5 to 0.5 across the frame; the attributes TOLD as indices.
Fact = tuple[float, ...]
N_EXTENTS = 4
CELL, EXTENTS, INDICES = 1, slice(2, 2 + N_EXTENTS), slice(2 + N_EXTENTS, None)
NOTHING_MORE = GRID_SIZE**2  # the cell of what a caption names next, where it names nothing more
NOUNS = ("shape", "shapes", "thing", "one")


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun with the adjectives before it; `end` is where its last character stands in the text, plus one."""

    end: int
    shape: str | None
    attributes: dict[str, str]


def mentions(text: str) -> Iterator[Mention]:
    """Every noun phrase that tells a shape or an attribute, in order."""
    tokens, pattern = phrase_tokens()
    lowered = text.lower()
    for cut_out in CUT_OUT:
        lowered = cut_out.sub(lambda match: " " * len(match[0]), lowered)
    attributes: dict[str, str] = {}
    for match in pattern.finditer(lowered):
        token = tokens.get(match[0])
        kind = token.kind if token else "word"
        if token and kind in TOLD:
            attributes[kind] = token.value
        elif token and kind in NOUNS:
            shape = token.value if kind in ("shape", "shapes") else None
            if shape or attributes:
                yield Mention(match.end(), shape, attributes)
            attributes = {}
        elif kind != "joint":
            attributes = {}


def cell_of(o: SceneObject) -> int:
    """The image token that holds an object's centre."""
    cell_px = FRAME_PX / GRID_SIZE
    return int(o.y // cell_px) * GRID_SIZE + int(o.x // cell_px)


def facts_of(text: str, scene: Scene, *, may_lack: bool) -> Iterator[tuple[int, Fact]]:
    """(end in the text, fact) of every mention that fits objects of one kind; with `may_lack` also of all others."""
    for mention in mentions(text):
        wanted = mention.attributes if mention.shape is None else mention.attributes | {"shape": mention.shape}
        found = [o for o in scene.objects if all(getattr(o, name) == value for name, value in wanted.items())]
        if len({o.kind for o in found}) == 1:
            xs, ys = [o.x / FRAME_PX - 0.5 for o in found], [o.y / FRAME_PX - 0.5 for o in found]
            attributes = [ATTRIBUTES[name].index(getattr(found[0], name)) for name in TOLD]
            cell = min(cell_of(o) for o in found)
            yield mention.end, (len(found), cell, min(xs), max(xs), min(ys), max(ys), *attributes)
        elif may_lack:
            yield mention.end, (len(found), NO_OBJECT, *[0.0] * N_EXTENTS, *[NO_OBJECT] * len(TOLD))


class GroundingHead(nn.Module):
    """Reads facts off the words that name objects, and off all words of captions which object will be named next."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.count = nn.Linear(width, MAX_OBJECTS + 1)
        self.cell = nn.Linear(width, GRID_SIZE**2)
        self.extents = nn.Linear(width, N_EXTENTS)
        self.attributes = nn.ModuleDict({name: nn.Linear(width, len(ATTRIBUTES[name])) for name in TOLD})
        self.plan_norm = nn.LayerNorm(width)
        self.plan = nn.Linear(width, GRID_SIZE**2 + 1)

    def forward(self, hidden: torch.Tensor, facts: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses of `hidden [M,D]` against `facts [M,F]`: of counts, centres (in tenths of the frame), attributes."""
        hidden = self.norm(hidden)
        known = facts[:, CELL] != NO_OBJECT
        place = F.smooth_l1_loss(10 * self.extents(hidden[known]), 10 * facts[known, EXTENTS])
        indices = facts[known, INDICES].long()
        told = [
            F.cross_entropy(head(hidden[known]), indices[:, index])
            for index, head in enumerate(self.attributes.values())
        ]
        return {
            "found": F.cross_entropy(self.count(hidden), facts[:, 0].long()),
            "place": place + F.cross_entropy(self.cell(hidden), facts[:, CELL].long()),
            "described": torch.stack(told).mean(),
        }

    def plan_loss(self, hidden: torch.Tensor, next_cells: torch.Tensor) -> torch.Tensor:
        """Cross entropy of where what is named next is, `[N]`, NO_OBJECT where not asked, by `hidden [N,D]`."""
        asked = next_cells != NO_OBJECT
        return F.cross_entropy(self.plan(self.plan_norm(hidden[asked].float())), next_cells[asked])
