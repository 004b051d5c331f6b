"""Questions to any image-text-to-text model of transformers: one forward pass, the logits of the answers, no decoding.

Questions about one image share it: what stands before them (image, chat format) passes through the model once, and all
questions go on from there. Not every model can do that exactly (PaliGemma looks both ways); so the first image with
several questions is asked both ways, and a model that differs is asked question by question from then on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.pretrained import load_model, model_folder, weights_identity
from benchmarks.metrics.vlm_prompts import AnswerTokens, default_template, yes_or_no
from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Probabilities of the two ways may differ by the order of sums alone.
SHARED_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2, "float16": 1e-2}


class VlmVqa:
    """The VQA model `transformers`: `model` is a bundled one, a folder or a hub id with safetensors weights.

    `chat_format` holds `{instruction}` (None: the model's own chat template). Raises UserError if there is no such
    model.
    """

    def __init__(
        self,
        model: str = "vlm-mini",
        revision: str | None = None,
        chat_format: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        batch_size: int = 16,
    ) -> None:
        self.folder = model_folder("transformers", model, revision, "METRIC.vqa_options.model")
        self.default_template = default_template(model)
        self.model, self.revision, self.chat_format = model, revision, chat_format
        self.dtype, self.device, self.batch_size = dtype, device, batch_size
        self._shares: bool | None = None

    def identity(self) -> dict[str, Any]:
        """The weights by sha256, the chat format, and how a yes/no question is put."""
        return {
            "vqa": "transformers",
            "version": 1,
            **weights_identity(self.model, self.revision, self.folder),
            "chat_format": self.chat_format or "the model's own",
            "question": yes_or_no("{question}"),
            "answers": "first token, spellings summed",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        """For each RGB image and question P(first) / (P(first) + P(second)), capitalised spellings included."""
        first, second = self._answers.either(answers)
        asked = [[yes_or_no(question) for question in own] for own in questions]
        found = self._log_probabilities(images, asked, [*first, *second])
        return [
            (own[:, : len(first)].logsumexp(-1) - own[:, len(first) :].logsumexp(-1)).sigmoid().tolist()
            for own in found
        ]

    def answer_likelihoods(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: Sequence[str]
    ) -> list[list[float]]:
        """For each RGB image and question the sum of P(answer) over `answers`, out of the whole vocabulary."""
        found = self._log_probabilities(images, questions, self._answers.of(answers))
        return [own.exp().sum(-1).tolist() for own in found]

    def _log_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answer_ids: Sequence[int]
    ) -> list[Tensor]:
        """For each image [its questions, answers], float32 on the CPU."""
        import torch

        with torch.inference_mode():
            if all(len(own) <= 1 for own in questions) or self._shares is False:
                pairs = [(image, text) for image, own in zip(images, questions, strict=True) for text in own]
                groups = [pairs[start : start + self.batch_size] for start in range(0, len(pairs), self.batch_size)]
                parts = (self._each_alone(*zip(*group, strict=True)) for group in groups)
            else:
                asked = [(image, own) for image, own in zip(images, questions, strict=True) if own]
                parts = (self._of_one_image(image, own) for image, own in asked)
            # of each part only the answers are kept: a vocabulary has 150,000 tokens
            chosen = [logits.log_softmax(-1)[:, list(answer_ids)].cpu() for logits in parts]
        nothing = torch.empty(0, len(answer_ids))
        return list(torch.split(torch.cat([nothing, *chosen]), [len(own) for own in questions]))

    def _of_one_image(self, image: Image, questions: Sequence[str]) -> Tensor:
        if self._shares is False or len(questions) == 1:
            return self._each_alone([image] * len(questions), questions)
        if self._shares:
            return self._together(image, questions)
        alone = self._each_alone([image] * len(questions), questions)
        try:
            together = self._together(image, questions)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError):
            self._shares = False  # the model does not go on from a cache of several
            return alone
        difference = (alone.softmax(-1) - together.softmax(-1)).nan_to_num().abs().max().item()
        self._shares = difference <= SHARED_TOLERANCE[self.dtype]
        return alone

    def _each_alone(self, images: Sequence[Image], questions: Sequence[str]) -> Tensor:
        """Logits of the next token, [pairs, vocabulary]."""
        import torch

        parts = []
        for start in range(0, len(questions), self.batch_size):
            batch = slice(start, start + self.batch_size)
            inputs = self._inputs(images[batch], [self._answers.prompt(question) for question in questions[batch]])
            logits = self._model(**inputs, **self._only_last).logits[:, -1].float()
            logits[inputs["attention_mask"].sum(1) > self._max_tokens] = torch.nan
            parts.append(logits)
        return torch.cat(parts)

    def _together(self, image: Image, questions: Sequence[str]) -> Tensor:
        """The same for the questions about one image, which passes through the model once."""
        import torch

        prompts = [self._answers.prompt(question) for question in questions]
        ids = [self._answers.ids(prompt) for prompt in prompts]
        shortest = min(map(len, ids)) - 1
        n_shared = next((k for k in range(shortest) if len({own[k] for own in ids}) > 1), shortest)
        inputs = self._inputs([image], prompts[:1])
        # The image's one token has become many; behind it the ids are those of the plain text.
        n_expanded = inputs["input_ids"].shape[1] - (len(ids[0]) - n_shared)
        for name, values in inputs.items():
            if values.ndim == 2 and values.shape == inputs["attention_mask"].shape and name != "attention_mask":
                inputs[name] = values[:, :n_expanded]
        inputs["attention_mask"] = inputs["attention_mask"][:, :n_expanded]
        cache = self._model(**inputs, use_cache=True, **self._only_last).past_key_values
        cache.batch_repeat_interleave(len(ids))
        tails = [torch.tensor(own[n_shared:], device=self._model.device) for own in ids]
        ends = torch.tensor([len(tail) - 1 for tail in tails], device=self._model.device)
        padded = torch.nn.utils.rnn.pad_sequence(tails, batch_first=True)
        seen = torch.ones(len(ids), n_expanded, dtype=torch.long, device=padded.device)
        is_text = torch.arange(padded.shape[1], device=padded.device) <= ends[:, None]
        mask = torch.cat([seen, is_text.long()], dim=1)
        logits = self._model(input_ids=padded, attention_mask=mask, past_key_values=cache).logits
        last: Tensor = logits[torch.arange(len(ids), device=padded.device), ends].float()
        last[mask.sum(1) > self._max_tokens] = torch.nan
        return last

    def _inputs(self, images: Sequence[Image], prompts: Sequence[str]) -> Any:
        return self._answers.processor(
            text=list(prompts),
            images=[[image] for image in images],
            padding=True,
            add_special_tokens=self._answers.adds_special_tokens,
            return_tensors="pt",
        ).to(self._model.device, self._model.dtype)

    @cached_property
    def _only_last(self) -> dict[str, int]:
        """That only the last token's logits are wanted, for models that can be told."""
        return {"logits_to_keep": 1} if "logits_to_keep" in signature(self._model.forward).parameters else {}

    @cached_property
    def _max_tokens(self) -> float:
        """How many tokens and patches the model can read."""
        return getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or math.inf

    @cached_property
    def _answers(self) -> AnswerTokens:
        from transformers import AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(self.folder)
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise UserError(f"transformers: {self.folder}: no processor: {' '.join(str(error).split())}") from error
        # the answer follows the last token of every row
        processor.tokenizer.padding_side = "left"
        return AnswerTokens(processor, self.chat_format)

    @cached_property
    def _model(self) -> Any:
        model = load_model("transformers", "AutoModelForImageTextToText", self.folder, self.dtype, self.device)
        if model.config.is_encoder_decoder:
            raise UserError(
                f"transformers: {self.folder}: an encoder-decoder; expected a model that goes on from the chat"
            )
        return model
