"""vLLM's asynchronous engine in this process: each image enters as soon as there is room, none waits for a batch.

One engine serves one GPU: models that need captioning at scale fit on one, and a process for each GPU (`--runner ray`,
`--rows`) loses no time to the others. `engine.vllm: {tensor_parallel_size: 2}` is for a model that does not fit.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion, EngineDied, model_path
from llm4gen_data.recaption.captioners.prompts import adds_special_tokens, chat_prompt
from llm4gen_data.recaption.captioners.vllm_settings import engine_arguments, settle_environment
from llm4gen_data.registry import require_working_torchvision

# vLLM's word for a request that its engine, not the model, ended.
NOT_FINISHED = ("abort", "error")


class VllmCaptioner:
    """One engine on this machine's GPU, or its CPU cores. Raises UserError if vLLM cannot load the model."""

    batch_size = 1

    def __init__(self, settings: CaptionerSettings) -> None:
        require_working_torchvision()
        settle_environment()
        warnings.simplefilter("ignore", FutureWarning)
        from transformers import AutoProcessor
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        sampling, model = settings.sampling, settings.model
        # while max_num_seqs images are being captioned, as many wait, prepared
        self.max_in_flight = settings.engine.max_in_flight or 2 * settings.engine.max_num_seqs
        self._numbers = itertools.count()
        self._sampling = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=sampling.seed if sampling.temperature > 0 else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            # one decoding at the end instead of one a token
            detokenize=False,
        )
        arguments = engine_arguments(settings, frozenset(inspect.signature(AsyncEngineArgs).parameters))
        try:
            self._processor = AutoProcessor.from_pretrained(model_path(model), revision=settings.revision)
            # the defaults of offline work: larger steps than a server takes
            offline = UsageContext.LLM_CLASS
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), usage_context=offline)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            raise UserError(f"vLLM cannot start {model!r}: {_last_line(error)}") from error
        self._token_ids = functools.lru_cache(maxsize=1024)(
            functools.partial(_token_ids, self._processor, settings.chat_format)
        )

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, generated side by side."""
        images: dict[int, str] = {}
        for request in requests:
            # by this name the engine knows an image again: it is encoded, and its tokens are cached, once
            images.setdefault(id(request.image), f"image-{next(self._numbers)}")
        return list(await asyncio.gather(*(self._caption(request, images[id(request.image)]) for request in requests)))

    async def close(self) -> None:
        """Stop the engine, and let go of it while the modules its destructor needs are still there."""
        if hasattr(self, "_engine"):
            limit = {"timeout": 1.0} if "timeout" in inspect.signature(self._engine.shutdown).parameters else {}
            self._engine.shutdown(**limit)
            del self._engine

    async def _caption(self, request: CaptionRequest, image_name: str) -> Completion:
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt = {
            "prompt_token_ids": self._token_ids(request.instruction),
            "multi_modal_data": {"image": request.image},
            "multi_modal_uuids": {"image": [image_name]},
        }
        final: Any = None
        try:
            async for output in self._engine.generate(prompt, self._sampling, str(next(self._numbers))):
                final = output
        except EngineDeadError as error:
            raise EngineDied("the vLLM engine died") from error
        except Exception as error:  # vLLM raises many kinds for a single bad request; the row keeps the reason
            return Completion(error=f"{type(error).__name__}: {_last_line(error)}")
        answer = final.outputs[0]
        if answer.finish_reason in NOT_FINISHED:
            return Completion(error=f"vLLM ended the request: {answer.finish_reason}", transient=True)
        text = self._processor.tokenizer.decode(answer.token_ids, skip_special_tokens=True)
        return Completion(text.strip(), answer.finish_reason or "unknown", len(answer.token_ids))


def _token_ids(processor: Any, chat_format: str | None, instruction: str) -> list[int]:
    prompt = chat_prompt(processor, chat_format, instruction)
    ids: list[int] = processor.tokenizer(prompt, add_special_tokens=adds_special_tokens(processor, prompt))[
        "input_ids"
    ]
    return ids


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
