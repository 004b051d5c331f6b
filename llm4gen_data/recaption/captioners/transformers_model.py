"""transformers' own `generate`, in batches: slower than vLLM, but runs wherever torch does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionRequest, Completion, Engine, Sampling, inference_dtype, model_path
from llm4gen_data.registry import require_working_torchvision


class TransformersCaptioner:
    """Any image-text-to-text model. Raises UserError if transformers cannot load it."""

    max_in_flight = 1

    def __init__(self, model: str, revision: str | None, sampling: Sampling, engine: Engine) -> None:
        require_working_torchvision()
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        path = model_path(model)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._processor = AutoProcessor.from_pretrained(path, revision=revision)
            self._model = AutoModelForImageTextToText.from_pretrained(
                path, revision=revision, dtype=inference_dtype(engine)
            )
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(f"transformers cannot load {model!r}: {str(error).splitlines()[0]}") from error
        self._model.to(device).eval()
        # decoder-only models must be padded on the left, or the padding stands between prompt and answer
        self._processor.tokenizer.padding_side = "left"
        self._sampling = sampling
        self.batch_size = engine.max_batch

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, generated as one batch."""
        return await asyncio.to_thread(self._generate, requests)

    async def close(self) -> None:
        """Nothing to free before the process ends."""

    def _generate(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        import torch

        sampling = self._sampling
        texts = [self._prompt(request.instruction) for request in requests]
        images = [[request.image] for request in requests]
        inputs = self._processor(text=texts, images=images, padding=True, return_tensors="pt").to(self._model.device)
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

    def _prompt(self, instruction: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": instruction}]
        text: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return text
