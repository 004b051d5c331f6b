"""What a perfect model would answer the llm writer: the grammar's text for every specification it may ask for."""

import json
from collections.abc import Mapping

from llm4gen_data.densprompts.build import numbered_slots, written_by_grammar
from llm4gen_data.densprompts.writers.instructions import messages


def known_texts(shares: Mapping[str, int], seed: int, tries: int, preset: str = "spec") -> dict[str, str]:
    """The question of the `tries` first specifications of every slot -> a text that is right."""
    texts = {}
    for slot in numbered_slots(shares, seed):
        draws = 0
        for _ in range(tries):
            spec, written, draws, _ = written_by_grammar(slot, seed, draws)
            texts[messages(spec, preset, [written.text])[-1]["content"]] = written.text
    return texts


def described(text: str) -> str:
    """As a structured answer."""
    return json.dumps({"description": text})
