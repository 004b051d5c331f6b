"""A chat model under vLLM's asynchronous engine in this process, its answers held to a JSON schema."""

from __future__ import annotations

import functools
import inspect
import itertools
import warnings
from typing import Any

from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.writers.chat import SCHEMA
from llm4gen_data.densprompts.writers.instructions import Messages
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import Completion, EngineDied, model_path
from llm4gen_data.recaption.captioners.vllm_settings import engine_arguments, settle_environment
from llm4gen_data.registry import require_working_torchvision

# Of the arguments for captioning, what only models that see images understand.
IMAGE_ARGUMENTS = ("limit_mm_per_prompt", "mm_processor_cache_gb")


class VllmChat:
    """One engine on this machine's GPU, or its CPU cores. Raises UserError if vLLM cannot load the model."""

    def __init__(self, config: LlmConfig) -> None:
        require_working_torchvision()
        settle_environment()
        warnings.simplefilter("ignore", FutureWarning)
        import torch
        from transformers import AutoTokenizer
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        settings = config.settings()
        self.max_in_flight = config.engine.max_in_flight or 2 * config.engine.max_num_seqs
        self._numbers = itertools.count()
        # On a CPU vLLM 0.32 dies when it cuts the prompt of a request with a seed of its own ("CPU Generator does not
        # use offset"). There the engine's seed serves all requests, and only the journal makes a build repeatable.
        self._takes_seeds = torch.cuda.is_available()
        self._sampling = functools.partial(
            SamplingParams,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            repetition_penalty=config.repetition_penalty,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(json=SCHEMA) if config.structured else None,
        )
        arguments = engine_arguments(settings, frozenset(inspect.signature(AsyncEngineArgs).parameters))
        for name in IMAGE_ARGUMENTS:
            if name not in config.engine.vllm:
                arguments.pop(name, None)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                model_path(settings.model), revision=settings.revision
            )
            if not self._tokenizer.chat_template:
                raise UserError(f"model {settings.model!r} has no chat template: expected an instruction-tuned model")
            offline = UsageContext.LLM_CLASS
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), usage_context=offline)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise UserError(
                f"vLLM cannot start {settings.model!r}: {(lines or [type(error).__name__])[-1]}"
            ) from error

    async def answer(self, messages: Messages, seed: int) -> Completion:
        """The answer to a chat, generated beside the others in flight."""
        from vllm.v1.engine.exceptions import EngineDeadError

        token_ids = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        final: Any = None
        try:
            sampling = self._sampling(seed=seed if self._takes_seeds else None)
            async for output in self._engine.generate(
                {"prompt_token_ids": token_ids}, sampling, str(next(self._numbers))
            ):
                final = output
        except EngineDeadError as error:
            raise EngineDied("the vLLM engine died") from error
        except Exception as error:  # vLLM raises many kinds for a single bad request
            return Completion(error=f"{type(error).__name__}: {error}")
        answer = final.outputs[0]
        return Completion(answer.text.strip(), answer.finish_reason or "unknown", len(answer.token_ids))

    async def close(self) -> None:
        """Stop the engine, and let go of it while the modules its destructor needs are still there."""
        if hasattr(self, "_engine"):
            self._engine.shutdown(timeout=1.0)
            del self._engine
