"""vLLM's asynchronous engine in this process: each image enters as soon as there is room, none waits for a batch."""

from __future__ import annotations

import asyncio
import inspect
import os
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionRequest, Completion, Engine, Sampling, inference_dtype, model_path
from llm4gen_data.recaption.captioners.vllm_plugin import ENABLED
from llm4gen_data.registry import require_working_torchvision


class VllmCaptioner:
    """One engine on this machine's GPU, or its CPU cores. Raises UserError if vLLM cannot load the model."""

    batch_size = 1

    def __init__(self, model: str, revision: str | None, sampling: Sampling, engine: Engine) -> None:
        require_working_torchvision()
        _settle_environment()
        warnings.simplefilter("ignore", FutureWarning)
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM

        path = model_path(model)
        self.max_in_flight = engine.max_in_flight or 2 * engine.max_num_seqs
        self._sampling = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=sampling.seed if sampling.temperature > 0 else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        wanted = {
            "model": path,
            "revision": revision,
            "dtype": inference_dtype(engine),
            "max_model_len": engine.max_model_len,
            "max_num_seqs": engine.max_num_seqs,
            "limit_mm_per_prompt": {"image": 1, "video": 0},
            # every image is seen once, so a cache of prepared images only costs memory
            "mm_processor_cache_gb": 0,
            "enable_log_requests": False,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        known = inspect.signature(AsyncEngineArgs).parameters
        arguments = {name: value for name, value in wanted.items() if name in known and value is not None}
        try:
            self._prompt = _ChatPrompt(path, revision)
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(f"vLLM cannot start {model!r}: {_last_line(error)}") from error

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, generated side by side."""
        return list(await asyncio.gather(*(self._caption(request) for request in requests)))

    async def close(self) -> None:
        """Stop the engine, and let go of it while the modules its destructor needs are still there."""
        self._engine.shutdown(timeout=1.0)
        del self._engine

    async def _caption(self, request: CaptionRequest) -> Completion:
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt = {"prompt": self._prompt(request.instruction), "multi_modal_data": {"image": request.image}}
        final: Any = None
        try:
            async for output in self._engine.generate(prompt, self._sampling, request_id=uuid.uuid4().hex):
                final = output
        except EngineDeadError as error:
            raise UserError("the vLLM engine died; the same command again goes on from here") from error
        except Exception as error:  # vLLM raises many kinds for a single bad request; the row keeps the reason
            return Completion(error=f"{type(error).__name__}: {_last_line(error)}")
        answer = final.outputs[0]
        return Completion(
            text=answer.text.strip(),
            finish_reason=answer.finish_reason or "unknown",
            n_output_tokens=len(answer.token_ids),
        )


class _ChatPrompt:
    """The model's own chat format around an instruction, image first; the same text for the same instruction."""

    def __init__(self, path: str, revision: str | None) -> None:
        from transformers import AutoProcessor

        self._processor = AutoProcessor.from_pretrained(path, revision=revision)
        self._known: dict[str, str] = {}

    def __call__(self, instruction: str) -> str:
        if instruction not in self._known:
            content = [{"type": "image"}, {"type": "text", "text": instruction}]
            self._known[instruction] = self._processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        return self._known[instruction]


def _settle_environment() -> None:
    """Set what vLLM and its processes read at import, unless the user has; nothing is reported home."""
    import torch

    wanted = {
        ENABLED: "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        # the engine process is stopped, not waited for; its shared memory is cleaned up by Python's tracker, loudly
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore:resource_tracker:UserWarning",
    }
    if not torch.cuda.is_available():
        wanted["VLLM_CPU_KVCACHE_SPACE"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
