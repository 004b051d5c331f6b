"""The control for pretraining: a language model's architecture and tokenizer with weights that learned nothing."""

from __future__ import annotations

import torch
import transformers

from llm4gen_model.llm import LLMSettings
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.llms.pretrained import TOKENIZER_FILES, file_hashes, language_model_of
from llm4gen_model.llms.sentence import minilm_folder

SEED = 0


def minilm_random(settings: LLMSettings, device: str) -> LastHiddenStates:
    """all-MiniLM-L6-v2 as its config has it initialised, the same weights every time; frozen like any other.

    Raises UserError, with what to install, if tokenizer and config cannot be had.
    """
    from llm4gen_model.models import module_sha256  # which needs the table of language models

    folder = minilm_folder()
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = transformers.AutoModel.from_config(config, dtype=torch.float32)
    files = {**file_hashes(folder, TOKENIZER_FILES), "random weights": module_sha256(model)}
    model = model.to(device, getattr(torch, settings.dtype))
    return language_model_of("minilm-random", model, tokenizer, settings, files=files, device=device)
