"""Any OpenAI-compatible server, such as `vllm serve`: retries and back-off are the client library's."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Sequence
from typing import Any

import openai

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionRequest, Completion, Engine, Sampling

MAX_RETRIES = 5


class EndpointCaptioner:
    """Requests to `engine.base_url` (or OPENAI_BASE_URL); the key comes from OPENAI_API_KEY."""

    batch_size = 1

    def __init__(self, model: str, revision: str | None, sampling: Sampling, engine: Engine) -> None:
        base_url = engine.base_url or os.environ.get("OPENAI_BASE_URL")
        if not base_url:
            raise UserError("captioner 'endpoint' needs a server: --set engine.base_url=http://host:8000/v1")
        self._base_url = base_url
        self.max_in_flight = engine.max_in_flight or 64
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=MAX_RETRIES,
            timeout=engine.timeout_s,
        )
        self._model = model
        self._sampling: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.repetition_penalty != 1.0:
            # vLLM's and SGLang's extension of the protocol
            self._sampling["extra_body"] = {"repetition_penalty": sampling.repetition_penalty}

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, asked side by side."""
        return list(await asyncio.gather(*(self._caption(request) for request in requests)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _caption(self, request: CaptionRequest) -> Completion:
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(request)}},
            {"type": "text", "text": request.instruction},
        ]
        messages: Any = [{"role": "user", "content": content}]
        try:
            answer = await self._client.chat.completions.create(model=self._model, messages=messages, **self._sampling)
            choice = answer.choices[0]
            text, reason = choice.message.content or "", choice.finish_reason or "unknown"
        except openai.APITimeoutError as error:
            return Completion(error=f"no answer after {MAX_RETRIES} retries: {error}")
        except (openai.APIConnectionError, openai.AuthenticationError, openai.NotFoundError) as error:
            # not about this image: going on would only turn every row into the same failure
            raise UserError(f"{self._base_url}: {error}; the same command again goes on from here") from error
        except openai.APIError as error:
            return Completion(error=f"{type(error).__name__}: {error}")
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return Completion(error=f"the server's answer is not a chat completion: {error}")
        return Completion(text.strip(), reason, answer.usage.completion_tokens if answer.usage else 0)


def _data_url(request: CaptionRequest) -> str:
    """The prepared image as PNG: what the model sees is then what any other captioner sees."""
    buffer = io.BytesIO()
    request.image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
