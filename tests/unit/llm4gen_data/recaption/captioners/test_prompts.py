"""Chat prompts: formats as the presets have them, the first token once."""

import pytest
from transformers import AutoProcessor

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption.captioner import model_path
from llm4gen_data.recaption.captioners.prompts import adds_special_tokens, chat_prompt
from llm4gen_data.recaption.presets import PRESETS


class Tokenizer:
    def __init__(self, bos_token: str | None) -> None:
        self.bos_token = bos_token


class Processor:
    def __init__(self, bos_token: str | None = None) -> None:
        self.tokenizer = Tokenizer(bos_token)

    def apply_chat_template(self, *_: object, **__: object) -> str:
        raise ValueError("no chat template is set")


def test_the_presets_format_is_the_bundled_models_own_template() -> None:
    processor = AutoProcessor.from_pretrained(model_path("vlm-mini"))
    asked = "What {is} this?"
    assert chat_prompt(processor, PRESETS["vlm-mini"].chat_format, asked) == chat_prompt(processor, None, asked)


def test_a_model_without_a_template_or_a_format_without_a_slot_is_refused() -> None:
    with pytest.raises(UserError, match="--set chat_format"):
        chat_prompt(Processor(), None, "Hello there.")
    with pytest.raises(UsageError, match=r"\{instruction\}"):
        chat_prompt(Processor(), "USER:", "Hello there.")


def test_the_first_token_stands_once() -> None:
    assert adds_special_tokens(Processor("<s>"), "USER: <image>")
    assert not adds_special_tokens(Processor("<s>"), "<s>[INST]")
    assert adds_special_tokens(Processor(None), "USER:")
