"""An instruction in the words a model was trained on: its chat format around it, the image first."""

from __future__ import annotations

from typing import Any

from llm4gen_data.errors import UsageError, UserError

INSTRUCTION_SLOT = "{instruction}"


def chat_prompt(processor: Any, chat_format: str | None, instruction: str) -> str:
    """The prompt text for one image: `chat_format` filled in, or the chat template of a transformers processor.

    Raises UserError for a model without a chat template, UsageError for a format without `{instruction}`.
    """
    if chat_format is not None:
        if INSTRUCTION_SLOT not in chat_format:
            raise UsageError(f"chat_format = {chat_format!r}: expected {INSTRUCTION_SLOT} in it")
        return chat_format.replace(INSTRUCTION_SLOT, instruction)
    content = [{"type": "image"}, {"type": "text", "text": instruction}]
    try:
        text: str = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"the model has no chat template: --set chat_format='...{INSTRUCTION_SLOT}...' ({error})"
        ) from error
    return text


def adds_special_tokens(processor: Any, prompt: str) -> bool:
    """Whether the tokenizer puts its first token before the prompt: not if it stands there, as in transformers."""
    first = processor.tokenizer.bos_token
    return not (first and prompt.startswith(first))
