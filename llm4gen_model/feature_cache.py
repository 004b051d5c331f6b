"""Features of a frozen language model, kept for texts that come again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

from llm4gen_model.llm import LanguageModel

N_SETS = 16


class FeatureCache:
    """The features of the last N_SETS sets of texts.

    Whole sets only: a text's features depend by rounding on what is read beside it, and so must not depend on what
    was read before. The negative prompt is a set of its own, read once for all batches.
    """

    def __init__(self, llm: LanguageModel) -> None:
        self._llm = llm
        self._features: OrderedDict[tuple[str, ...], list[torch.Tensor]] = OrderedDict()

    def features(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Features [n_i, width] of every text; one that stands there twice is read once."""
        distinct = tuple(dict.fromkeys(texts))
        if distinct not in self._features:
            self._features[distinct] = self._llm.encode(distinct)
            if len(self._features) > N_SETS:
                self._features.popitem(last=False)
        self._features.move_to_end(distinct)
        by_text = dict(zip(distinct, self._features[distinct], strict=True))
        return [by_text[text] for text in texts]
