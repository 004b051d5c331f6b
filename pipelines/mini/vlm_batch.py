"""Texts about a batch of images as flat arrays of tokens: prefixes first, then texts in groups of like length."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

IGNORED = -100  # cross_entropy's ignore_index
MAX_PADDING = 6  # tokens that a text may be longer than the shortest of its group


@dataclass(frozen=True, slots=True)
class Text:
    """What follows an image: `input_ids` of prompt and answer, a label and a weight for each of them.

    `labels[i]` is the token behind `i`, IGNORED outside answers. `named` are (position, facts) of the words that mean
    an object, `next_cells[i]` is where the next of them is, IGNORED outside captions; see `vlm_grounding`.
    """

    image: int
    input_ids: list[int]
    labels: list[int]
    weights: list[float]
    named: list[tuple[int, tuple[float, ...]]]
    next_cells: list[int]


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Arrays `[N]` of `n_images` prefixes of `n_prefix` tokens, then groups of texts.

    A group is (`image_index [T]`, length): T texts of that length, padded at their end. `named [M]` are the tokens
    that name an object, `named_facts [M,F]` what is true of it.
    """

    n_images: int
    n_prefix: int
    groups: list[tuple[torch.Tensor, int]]
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    next_cells: torch.Tensor
    named: torch.Tensor
    named_facts: torch.Tensor


def batch_texts(texts: Sequence[Text], prefix: list[int], n_images: int, pad_token_id: int) -> TextBatch:
    """Lay out texts behind their images' prefixes; texts that differ by few tokens in length share a group."""
    ids, positions = prefix * n_images, list(range(len(prefix))) * n_images
    labels, weights, next_cells = [IGNORED] * len(ids), [0.0] * len(ids), [IGNORED] * len(ids)
    named: list[int] = []
    facts: list[tuple[float, ...]] = []
    groups: list[tuple[torch.Tensor, int]] = []
    for members in group_by_length(texts):
        length = len(members[0].input_ids)
        groups.append((torch.tensor([text.image for text in members]), length))
        for text in members:
            padding = length - len(text.input_ids)
            named += [len(ids) + at for at, _ in text.named]
            facts += [fact for _, fact in text.named]
            ids += text.input_ids + [pad_token_id] * padding
            labels += text.labels + [IGNORED] * padding
            weights += text.weights + [0.0] * padding
            next_cells += text.next_cells + [IGNORED] * padding
            positions += range(len(prefix), len(prefix) + length)
    return TextBatch(
        n_images,
        len(prefix),
        groups,
        input_ids=torch.tensor(ids),
        position_ids=torch.tensor(positions),
        labels=torch.tensor(labels),
        weights=torch.tensor(weights),
        next_cells=torch.tensor(next_cells),
        named=torch.tensor(named, dtype=torch.long),
        named_facts=torch.tensor(facts),
    )


def group_by_length(texts: Sequence[Text]) -> list[list[Text]]:
    """Groups of texts that differ by at most MAX_PADDING tokens in length, each with its longest text first."""
    groups: list[list[Text]] = []
    for text in sorted(texts, key=lambda text: len(text.input_ids), reverse=True):
        if groups and len(groups[-1][0].input_ids) - len(text.input_ids) <= MAX_PADDING:
            groups[-1].append(text)
        else:
            groups.append([text])
    return groups
