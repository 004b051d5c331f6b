"""Language models by short name: where they are, and the settings that each is meant to be used with."""

from __future__ import annotations

from dataclasses import dataclass, field

from llm4gen_model.llm import LLMSettings


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model on the hub and how it is meant to be used."""

    hub_id: str
    settings: LLMSettings = field(default_factory=LLMSettings)


# As the released LLM4GEN reads its prompts (github.com/YUHANG-Ma/LLM4GEN, infer_llm4gen_sd15.py): RankGen's prefix,
# padded to 256 tokens whose states are kept, cut by slicing so that the end token is lost.
RELEASED_SETTINGS = LLMSettings(max_tokens=256, prefix="pre ", pad=True, keep_end=False)
RELEASED_LLM = "rankgen-t5-xl-all"

KNOWN_MODELS = {
    "rankgen-t5-xl-all": KnownModel("kalpeshk2011/rankgen-t5-xl-all", RELEASED_SETTINGS),
    "rankgen-t5-xl-pg19": KnownModel("kalpeshk2011/rankgen-t5-xl-pg19", RELEASED_SETTINGS),
    "rankgen-t5-large-all": KnownModel("kalpeshk2011/rankgen-t5-large-all", RELEASED_SETTINGS),
    "rankgen-t5-base-all": KnownModel("kalpeshk2011/rankgen-t5-base-all", RELEASED_SETTINGS),
    "t5-v1_1-base": KnownModel("google/t5-v1_1-base"),
    "t5-v1_1-large": KnownModel("google/t5-v1_1-large"),
    "t5-v1_1-xl": KnownModel("google/t5-v1_1-xl"),
    "t5-v1_1-xxl": KnownModel("google/t5-v1_1-xxl"),
    "flan-t5-small": KnownModel("google/flan-t5-small"),
    "flan-t5-base": KnownModel("google/flan-t5-base"),
    "flan-t5-large": KnownModel("google/flan-t5-large"),
    "flan-t5-xl": KnownModel("google/flan-t5-xl"),
    "flan-t5-xxl": KnownModel("google/flan-t5-xxl"),
    "llama-2-7b": KnownModel("meta-llama/Llama-2-7b-hf"),
    "llama-2-13b": KnownModel("meta-llama/Llama-2-13b-hf"),
    "qwen3-0.6b": KnownModel("Qwen/Qwen3-0.6B"),
    "qwen3-1.7b": KnownModel("Qwen/Qwen3-1.7B"),
    "qwen3-4b": KnownModel("Qwen/Qwen3-4B"),
    "qwen3-8b": KnownModel("Qwen/Qwen3-8B"),
    "gemma-2b": KnownModel("google/gemma-2b"),
    "gemma-2-2b-it": KnownModel("google/gemma-2-2b-it"),
    "gemma-3-1b-it": KnownModel("google/gemma-3-1b-it"),
}
