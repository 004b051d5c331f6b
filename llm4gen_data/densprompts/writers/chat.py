"""What a chat model is to the llm writer: one method, and the two ways to have one."""

from __future__ import annotations

from typing import Any, Protocol

from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.writers.instructions import Messages
from llm4gen_data.recaption.captioner import Completion
from llm4gen_data.registry import resolve

CHAT_MODELS = {
    "vllm": "llm4gen_data.densprompts.writers.vllm_chat:VllmChat",
    "endpoint": "llm4gen_data.densprompts.writers.endpoint_chat:EndpointChat",
}
# What a structured answer is: one text under the key that the model is used to from captions.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"description": {"type": "string"}},
    "required": ["description"],
    "additionalProperties": False,
}


class ChatModel(Protocol):
    """A model ready to answer; made from an LlmConfig, `max_in_flight` questions are best asked at once."""

    max_in_flight: int

    async def answer(self, messages: Messages, seed: int) -> Completion:
        """The answer to a chat, drawn by `seed`; a chat that fails alone is a Completion with an error.

        Raises EngineDied or UserError when going on makes no sense.
        """
        ...

    async def close(self) -> None:
        """Free the model."""
        ...


def load_chat_model(config: LlmConfig) -> ChatModel:
    """The endpoint at `engine.base_url` if there is one, else vLLM on this machine. Raises UserError."""
    kind = "vllm" if config.engine.base_url is None else "endpoint"
    model: ChatModel = resolve("chat model", kind, CHAT_MODELS)(config)
    return model
