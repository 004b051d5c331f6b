"""Token states of whatever reads texts: text encoders, language models, and the tokens that a trained CAM makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from llm4gen_data.errors import UsageError, UserError

Span = tuple[int, int]
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class TextModel:
    """`states` gives [n_i, D] of each text, `spans` for each of its rows the characters that it stands for."""

    name: str
    states: Callable[[Sequence[str]], list[torch.Tensor]]
    spans: Callable[[str], list[Span | None]]


def open_text_model(name: str, device: str = "cpu") -> TextModel:
    """`text:BASE`, the text encoder of a base model; `llm:NAME`, a language model; `model:FOLDER`, what the CAM of a
    trained model makes of its language model's features. Raises UsageError for another name, UserError for a model
    that cannot be had or whose tokens stand for no words.
    """
    kind, _, source = name.partition(":")
    openers = {"text": _text_encoder, "llm": _language_model, "model": _trained}
    if kind not in openers or not source:
        raise UsageError(f"encoder {name!r}: expected text:BASE, llm:NAME or model:FOLDER")
    return openers[kind](name, source, device)


def word_states(
    model: TextModel, texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> Iterator[dict[Span, torch.Tensor]]:
    """For each text the mean state [D] of the tokens that overlap each of its `spans`; what was cut is absent."""
    for start in range(0, len(texts), BATCH_SIZE):
        batch = texts[start : start + BATCH_SIZE]
        for text, states, wanted in zip(batch, model.states(batch), spans[start:], strict=False):
            tokens = model.spans(text)
            found = {}
            for span in wanted:
                rows = [
                    i for i, token in enumerate(tokens[: len(states)]) if token is not None and _overlap(token, span)
                ]
                if rows:
                    found[span] = states[rows].mean(dim=0).float().cpu()
            yield found


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _text_encoder(name: str, base: str, device: str) -> TextModel:
    from llm4gen_model.conditioning import PromptEncoder
    from llm4gen_model.models import load_pipeline

    encoder = PromptEncoder.from_pipeline(load_pipeline(base, device=device))
    return TextModel(name, lambda texts: list(encoder.text_embeds(texts)[0]), encoder.text_token_spans)


def _language_model(name: str, llm_name: str, device: str) -> TextModel:
    from llm4gen_model.llm import load_llm

    llm = load_llm(llm_name, device=device)
    return TextModel(name, llm.encode, llm.token_spans)


def _trained(name: str, folder: str, device: str) -> TextModel:
    from llm4gen_model.connectors import is_one_to_one
    from llm4gen_model.models import load_model

    encoder = load_model(folder, device=device).prompt_encoder
    cam, llm = encoder.cam, encoder.llm
    if cam is None or llm is None or not is_one_to_one(cam):
        raise UserError(f"{name}: no CAM whose tokens stand for words")

    @torch.no_grad()
    def states(texts: Sequence[str]) -> list[torch.Tensor]:
        inputs = encoder.inputs(texts)
        return list(encoder.fuse(inputs)[:, inputs.text_embeds.shape[1] :])

    return TextModel(name, states, llm.token_spans)
