"""Hidden states of any transformers model, text by text: what every language model here gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from llm4gen_data.errors import UserError
from llm4gen_model.llm import LAST_LAYER, LLMSettings

BATCH_SIZE = 32


class LastHiddenStates:
    """A transformers model without a head and its tokenizer, as a `llm.LanguageModel`.

    A text becomes `start_ids`, then the tokens of prefix + text, then `end_ids`, cut as `settings` say. `files` is
    the sha256 of every file that features depend on; `device` is where the model computes. Raises UserError if
    `max_tokens` is more than the model can read, for a layer it does not have, for a text that could become no
    token at all, and for padding without a padding token.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        start_ids: Sequence[int],
        end_ids: Sequence[int],
        settings: LLMSettings,
        files: dict[str, str],
        device: str | None = None,
    ) -> None:
        config = model.config.get_text_config()
        # RoBERTa counts positions from 2, so that its tokenizer knows the limit better than its config
        limit = min(getattr(config, "max_position_embeddings", None) or 2**30, tokenizer.model_max_length)
        if settings.max_tokens > limit:
            raise UserError(
                f"language model {name!r} reads at most {limit} tokens: max_tokens is {settings.max_tokens}"
            )
        if not 0 < len(start_ids) + len(end_ids) <= settings.max_tokens:
            raise UserError(
                f"language model {name!r} adds {len(start_ids) + len(end_ids)} special tokens to a text: "
                f"expected 1 to max_tokens ({settings.max_tokens})"
            )
        n_layers = int(config.num_hidden_layers)
        if isinstance(settings.layer, int) and not -n_layers - 1 <= settings.layer <= n_layers:
            raise UserError(
                f"language model {name!r} has {n_layers} layers: expected layer {-n_layers - 1} to {n_layers} "
                f"(0: embeddings), found {settings.layer}"
            )
        if settings.pad and tokenizer.pad_token_id is None:
            raise UserError(f"language model {name!r}: its tokenizer names no padding token, so nothing can be padded")
        self.name = name
        self.width = int(config.hidden_size)
        self.max_tokens = settings.max_tokens
        self.pads = settings.pad
        self.settings = settings
        self.model = model
        self.tokenizer = tokenizer
        self._device = torch.device(device) if device is not None else model.device
        self._start_ids = list(start_ids)
        self._end_ids = list(end_ids)
        self._files = files

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values; younger settings appear where they are not the default."""
        layer = self.settings.layer
        identity = {
            "name": self.name,
            "width": self.width,
            "max_tokens": self.max_tokens,
            "dtype": self.settings.dtype,
            "layer": LAST_LAYER if layer == "last" else layer,
            "prefix": self.settings.prefix,
            "start_ids": self._start_ids,
            "end_ids": self._end_ids,
            "sha256": self._files,
        }
        default = LLMSettings()
        for name in ("pad", "keep_end", "quantize"):
            if getattr(self.settings, name) != getattr(default, name):
                identity[name] = getattr(self.settings, name)
        return identity

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Hidden states [n_i, width] of every text, float32 on the model's device, in the order given."""
        if not texts:
            return []
        if self.settings.offload:
            self.model.to(self._device)
        device = self.model.device
        ids = [torch.tensor(text_ids, device=device) for text_ids in self._token_ids(texts)]
        features: dict[int, torch.Tensor] = {}
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(by_length), BATCH_SIZE):
            rows = by_length[start : start + BATCH_SIZE]
            # Padding stands right and is masked, so that positions count from the first token; what id fills it
            # matters only where its own states are kept.
            pad_id = self.tokenizer.pad_token_id if self.pads else 0
            input_ids = pad_sequence([ids[i] for i in rows], batch_first=True, padding_value=pad_id)
            mask = pad_sequence([torch.ones_like(ids[i]) for i in rows], batch_first=True, padding_value=0)
            if self.pads:
                behind = (0, self.max_tokens - input_ids.shape[1])
                input_ids, mask = F.pad(input_ids, behind, value=pad_id), F.pad(mask, behind)
            states = self._states(input_ids, mask)
            # clones, or every text would keep its whole batch alive
            features.update(
                {i: states[row, : None if self.pads else len(ids[i])].clone() for row, i in enumerate(rows)}
            )
        if self.settings.offload:
            self.model.to("cpu")
        return [features[i] for i in range(len(ids))]

    def token_spans(self, text: str) -> list[tuple[int, int] | None]:
        """For each row of the text's features its characters [start, end) of `text`; None where it has none.

        Raises UserError for a tokenizer that does not tell where its tokens are.
        """
        if not self.tokenizer.is_fast:
            raise UserError(f"language model {self.name!r}: its tokenizer does not tell where its tokens are")
        spelt = self.settings.prefix + text
        offsets = self.tokenizer(
            spelt, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        ).offset_mapping
        shift = len(self.settings.prefix)
        spans = [_trimmed(text, start - shift, end - shift) for start, end in offsets]
        rows: list[tuple[int, int] | None] = self._cut(
            [None] * len(self._start_ids), spans, [None] * len(self._end_ids)
        )
        return rows + [None] * (self.max_tokens - len(rows)) if self.pads else rows

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        prefixed = [self.settings.prefix + text for text in texts]
        encoded = self.tokenizer(prefixed, add_special_tokens=False, verbose=False).input_ids
        return [self._cut(self._start_ids, text_ids, self._end_ids) for text_ids in encoded]

    def _cut(self, start: list[Any], middle: list[Any], end: list[Any]) -> list[Any]:
        if self.settings.keep_end:
            middle = middle[: self.max_tokens - len(start) - len(end)]
        return [*start, *middle, *end][: self.max_tokens]

    def _states(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The chosen states [B, n, width] in float32."""
        layer = self.settings.layer
        output = self.model(input_ids=input_ids, attention_mask=mask, output_hidden_states=layer != "last")
        if layer == "last":
            return output.last_hidden_state.float()  # type: ignore[no-any-return]
        if isinstance(layer, int):
            return output.hidden_states[layer].float()  # type: ignore[no-any-return]
        # the first is what goes into the first layer
        layers = output.hidden_states[1:]
        mean = torch.zeros(*input_ids.shape, self.width, device=layers[0].device)
        for states in layers:
            mean += F.layer_norm(states.float(), (self.width,)) / len(layers)
        return mean


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without what lies before `text` and without the spaces that some tokenizers count to a word."""
    start = max(start, 0)
    if end <= start:
        return None
    while end - start > 1 and text[start].isspace():
        start += 1
    return start, end
