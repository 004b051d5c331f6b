"""transformers' own `generate`, in batches: slower than vLLM, but runs wherever torch does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import (
    CaptionerSettings,
    CaptionRequest,
    Completion,
    inference_dtype,
    model_path,
)
from llm4gen_data.recaption.captioners.prompts import adds_special_tokens, chat_prompt
from llm4gen_data.registry import require_working_torchvision


class TransformersCaptioner:
    """Any image-text-to-text model. Raises UserError if transformers cannot load it."""

    max_in_flight = 1

    def __init__(self, settings: CaptionerSettings) -> None:
        require_working_torchvision()
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        path = model_path(settings.model)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._processor = AutoProcessor.from_pretrained(path, revision=settings.revision)
            self._model = AutoModelForImageTextToText.from_pretrained(
                path, revision=settings.revision, dtype=inference_dtype(settings.engine)
            )
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(f"transformers cannot load {settings.model!r}: {str(error).splitlines()[0]}") from error
        self._model.to(device).eval()
        # decoder-only models must be padded on the left, or the padding stands between prompt and answer
        self._processor.tokenizer.padding_side = "left"
        self._sampling = settings.sampling
        self._chat_format = settings.chat_format
        self.batch_size = settings.engine.max_batch

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, generated as one batch, or as smaller ones where memory or a bad request ask it.

        A batch that did not fit halves `batch_size` for those to come.
        """
        return await asyncio.to_thread(self._caption, requests)

    async def close(self) -> None:
        """Let the model go, and what torch keeps of the GPU's memory for it."""
        import torch

        del self._model
        torch.cuda.empty_cache()

    def _caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        import torch

        try:
            return self._generate(requests)
        except (RuntimeError, ValueError) as error:  # torch.OutOfMemoryError is a RuntimeError
            out_of_memory = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if len(requests) == 1:
                reason = str(error).splitlines()[0] if str(error) else ""
                return [Completion(error=f"{type(error).__name__}: {reason}")]
        # outside the handler, as the error's traceback holds the batch's tensors
        half = len(requests) // 2
        if out_of_memory:
            torch.cuda.empty_cache()
            self.batch_size = min(self.batch_size, half)
        return [*self._caption(requests[:half]), *self._caption(requests[half:])]

    def _generate(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        import torch

        sampling = self._sampling
        texts = [chat_prompt(self._processor, self._chat_format, request.instruction) for request in requests]
        inputs = self._processor(
            text=texts,
            images=[[request.image] for request in requests],
            padding=True,
            add_special_tokens=adds_special_tokens(self._processor, texts[0]),
            return_tensors="pt",
        ).to(self._model.device)
        options: dict[str, object] = {"do_sample": False}
        if sampling.temperature > 0:
            torch.manual_seed(sampling.seed)
            options = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=sampling.max_tokens,
                repetition_penalty=sampling.repetition_penalty,
                **options,
            )
        answers = tokens[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._completion(answer) for answer in answers]

    def _completion(self, tokens: list[int]) -> Completion:
        ends = self._model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        length = next((i + 1 for i, token in enumerate(tokens) if token in ends), None)
        kept = tokens if length is None else tokens[:length]
        text = self._processor.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Completion(text, "length" if length is None else "stop", len(kept))
