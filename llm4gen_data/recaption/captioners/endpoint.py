"""Any OpenAI-compatible server, such as `vllm serve`: busy or broken answers are asked for again, slower each time."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import time
from collections.abc import Sequence
from typing import Any

import openai
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion

# Between two tries of an answer that made no sense; for busy servers the client library waits in the same way,
# or as long as the server's Retry-After says.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0


class EndpointCaptioner:
    """Requests to `engine.base_url` (or OPENAI_BASE_URL), at most `engine.max_in_flight` at once, each tried
    `engine.max_retries` times again; the key comes from OPENAI_API_KEY. The chat format is the server's own.
    """

    batch_size = 1

    def __init__(self, settings: CaptionerSettings) -> None:
        engine, sampling = settings.engine, settings.sampling
        base_url = engine.base_url or os.environ.get("OPENAI_BASE_URL")
        if not base_url:
            raise UserError("captioner 'endpoint' needs a server: --set engine.base_url=http://host:8000/v1")
        self._base_url = base_url
        self.max_in_flight = engine.max_in_flight or 64
        self._max_retries = engine.max_retries
        self._answered_at = 0.0
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=engine.max_retries,
            timeout=engine.timeout_s,
        )
        self._model = settings.model
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
        images = {id(request.image): request.image for request in requests}
        urls = {name: await asyncio.to_thread(_data_url, image) for name, image in images.items()}
        return list(await asyncio.gather(*(self._caption(urls[id(r.image)], r.instruction) for r in requests)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _caption(self, image_url: str, instruction: str) -> Completion:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": image_url}},
            {"type": "text", "text": instruction},
        ]
        completion = await self._ask(content)
        for attempt in range(self._max_retries):
            if completion is not None:
                return completion
            await asyncio.sleep(min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S))
            completion = await self._ask(content)
        return completion or Completion(error="the server's answers are not chat completions", transient=True)

    async def _ask(self, content: list[dict[str, Any]]) -> Completion | None:
        """The server's answer, None for one that makes no sense."""
        began = time.monotonic()
        messages: Any = [{"role": "user", "content": content}]
        try:
            answer = await self._client.chat.completions.create(model=self._model, messages=messages, **self._sampling)
            self._answered_at = time.monotonic()
            choice = answer.choices[0]
            text, reason = choice.message.content or "", choice.finish_reason or "unknown"
            return Completion(text.strip(), reason, answer.usage.completion_tokens if answer.usage else 0)
        except openai.APITimeoutError as error:
            return Completion(error=f"no answer within the time limit: {error}", transient=True)
        except openai.APIConnectionError as error:
            if self._answered_at > began:  # it answers others
                return Completion(error=f"connection lost: {error}", transient=True)
            raise self._gone(error) from error
        except openai.APIStatusError as error:
            self._answered_at = time.monotonic()
            if error.status_code in (401, 403, 404) or error.code == "insufficient_quota":
                # not about this image: going on would only turn every row into the same failure
                raise self._gone(error) from error
            transient = error.status_code in (408, 409, 429) or error.status_code >= 500
            return Completion(error=f"{type(error).__name__}: {error}", transient=transient)
        except (openai.APIError, AttributeError, IndexError, TypeError, ValueError):
            return None

    def _gone(self, error: openai.APIError) -> UserError:
        return UserError(f"{self._base_url}: {error}; the same command again goes on from here")


def _data_url(image: Image.Image) -> str:
    """The prepared image as PNG: what the model sees is then what any other captioner sees."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
