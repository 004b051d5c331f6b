"""A chat model behind any OpenAI-compatible server, its answers held to a JSON schema."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import openai

from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.writers.chat import SCHEMA
from llm4gen_data.densprompts.writers.instructions import Messages
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import Completion

# Between two tries of an answer that made no sense; for busy servers the client library waits itself.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "prompt", "strict": True, "schema": SCHEMA}}


class EndpointChat:
    """Requests to `engine.base_url`, at most `engine.max_in_flight` at once, each tried `engine.max_retries` times
    again; the key comes from OPENAI_API_KEY.
    """

    def __init__(self, config: LlmConfig) -> None:
        engine = config.engine
        self._model = config.settings().model
        self._base_url = engine.base_url
        self._max_retries = engine.max_retries
        self.max_in_flight = engine.max_in_flight or 64
        self._client = openai.AsyncOpenAI(
            base_url=engine.base_url,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=engine.max_retries,
            timeout=engine.timeout_s,
        )
        self._options: dict[str, Any] = {
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
        }
        if config.structured:
            self._options["response_format"] = RESPONSE_FORMAT
        if config.repetition_penalty != 1.0:
            # vLLM's and SGLang's extension of the protocol
            self._options["extra_body"] = {"repetition_penalty": config.repetition_penalty}

    async def answer(self, messages: Messages, seed: int) -> Completion:
        """The server's answer. Raises UserError for a server that is gone, refuses, or speaks no chat protocol."""
        for attempt in range(self._max_retries + 1):
            if attempt:
                await asyncio.sleep(min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S))
            completion = await self._ask(messages, seed)
            if completion is not None:
                return completion
        raise UserError(f"{self._base_url}: the server's answers are not chat completions")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, messages: Messages, seed: int) -> Completion | None:
        chat: Any = messages
        try:
            answer = await self._client.chat.completions.create(
                model=self._model, messages=chat, seed=seed, **self._options
            )
            choice = answer.choices[0]
            text, reason = choice.message.content or "", choice.finish_reason or "unknown"
            return Completion(text.strip(), reason, answer.usage.completion_tokens if answer.usage else 0)
        except openai.APITimeoutError as error:
            return Completion(error=f"no answer within the time limit: {error}", transient=True)
        except openai.APIStatusError as error:
            # A chat of ours is as good as another: what is wrong with one is wrong with all.
            if error.status_code < 500 and error.status_code not in (408, 409, 429):
                hint = (
                    ""
                    if not self._options.get("response_format")
                    else " (--set llm.structured=false if it knows no response_format)"
                )
                raise UserError(f"{self._base_url}: {error}{hint if error.status_code == 400 else ''}") from error
            return Completion(error=f"{type(error).__name__}: {error}", transient=True)
        except openai.APIConnectionError as error:
            raise UserError(f"{self._base_url}: {error}; the same command again goes on from here") from error
        except (openai.APIError, AttributeError, IndexError, TypeError, ValueError):
            return None
