"""Last hidden states of any transformers model, text by text: what every language model here gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from llm4gen_data.errors import UserError

BATCH_SIZE = 32


class LastHiddenStates:
    """A transformers model without a head and its tokenizer, as a `llm.LanguageModel`.

    A text becomes `start_ids`, then the tokens of prefix + text, then `end_ids`; too long a text is cut before
    `end_ids`. `files` is the sha256 of every file that features depend on. Raises UserError if `max_tokens` is more
    than the model can read, or if a text could become no token at all.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        start_ids: Sequence[int],
        end_ids: Sequence[int],
        max_tokens: int,
        files: dict[str, str],
        prefix: str = "",
    ) -> None:
        # RoBERTa counts positions from 2, so that its tokenizer knows the limit better than its config
        limit = min(getattr(model.config, "max_position_embeddings", None) or 2**30, tokenizer.model_max_length)
        if max_tokens > limit:
            raise UserError(f"language model {name!r} reads at most {limit} tokens: max_tokens is {max_tokens}")
        if not 0 < len(start_ids) + len(end_ids) <= max_tokens:
            raise UserError(
                f"language model {name!r} adds {len(start_ids) + len(end_ids)} special tokens to a text: "
                f"expected 1 to max_tokens ({max_tokens})"
            )
        self.name = name
        self.width = int(model.config.get_text_config().hidden_size)
        self.max_tokens = max_tokens
        self._model = model
        self._tokenizer = tokenizer
        self._start_ids = list(start_ids)
        self._end_ids = list(end_ids)
        self._prefix = prefix
        self._files = files

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values."""
        return {
            "name": self.name,
            "width": self.width,
            "max_tokens": self.max_tokens,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "layer": "last_hidden_state",
            "prefix": self._prefix,
            "start_ids": self._start_ids,
            "end_ids": self._end_ids,
            "sha256": self._files,
        }

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Last hidden states [n_i, width] of every text, float32 on the model's device, in the order given."""
        if not texts:
            return []
        device = self._model.device
        ids = [torch.tensor(text_ids, device=device) for text_ids in self._token_ids(texts)]
        features: dict[int, torch.Tensor] = {}
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(by_length), BATCH_SIZE):
            rows = by_length[start : start + BATCH_SIZE]
            # Padding stands right and is masked, so that any id may fill it, and positions count from the first token.
            input_ids = pad_sequence([ids[i] for i in rows], batch_first=True, padding_value=0)
            mask = pad_sequence([torch.ones_like(ids[i]) for i in rows], batch_first=True, padding_value=0)
            states = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state.float()
            # clones, or every text would keep its whole batch alive
            features.update({i: states[row, : len(ids[i])].clone() for row, i in enumerate(rows)})
        return [features[i] for i in range(len(ids))]

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        prefixed = [self._prefix + text for text in texts]
        n_kept = self.max_tokens - len(self._start_ids) - len(self._end_ids)
        encoded = self._tokenizer(prefixed, add_special_tokens=False, verbose=False).input_ids
        return [[*self._start_ids, *text_ids[:n_kept], *self._end_ids] for text_ids in encoded]
