"""Short prompts rewritten as dense ones by a language model, before anything is drawn.

ELLA's advice to its users: three to five sentences about colour, shape, texture and place, and no atmosphere
(github.com/TencentQQGYLab/ELLA, README). The instruction's words are ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.drawings import FUNCTION_WORDS
from llm4gen_data.densprompts.writers.chat import SCHEMA, ChatModel, load_chat_model
from llm4gen_data.densprompts.writers.llm import read_answer
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import Completion, EngineDied, model_fingerprint
from llm4gen_data.recaption.journal import Answer, Journal, Outcome
from llm4gen_data.records import Prompt
from llm4gen_model.generate.config import UpsampleConfig

INSTRUCTION = (
    "You rewrite short prompts for a text-to-image model as dense ones. Keep every thing, number, attribute and "
    "relation of the prompt, in the same words. Then say of each thing its color, shape and texture, and where it "
    "stands in the picture and to the others. Write three to five plain sentences, {max_words} words at most. Say "
    "only what can be seen: no mood, no atmosphere, no lists, and do not mention that it is a picture or a prompt."
)
REWRITTEN = "rewritten"
# A rewriting that has lost more than this share of the prompt's words of content is of something else.
MAX_LOST = 0.2


def fingerprint(config: UpsampleConfig) -> dict[str, Any]:
    """What can change a rewriting. Raises UserError for a model that is neither a folder nor a hub id."""
    assert config.model is not None
    asked = json.dumps([INSTRUCTION, SCHEMA if config.structured else None])
    served = config.engine.base_url is not None
    return {
        **({"model": config.model} if served else model_fingerprint(config.model, config.revision)),
        "instruction": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "shorter_than": config.shorter_than,
        "max_words": config.max_words,
        "tries": config.tries,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
    }


def upsample(
    prompts: Sequence[Prompt],
    config: UpsampleConfig,
    seed: int,
    journal_path: Path,
    *,
    load: Callable[[LlmConfig], ChatModel] = load_chat_model,
) -> list[str | None]:
    """The dense text of every prompt; None where it is long enough already, or no answer of `tries` would do.

    Every answer is in the journal before it counts: the same call after a kill asks only for what is missing, and
    without anything missing no model is loaded. Raises UserError if the model cannot be had or dies.
    """
    short = {number: prompt.prompt for number, prompt in enumerate(prompts) if prompt.n_words < config.shorter_than}
    journal = Journal(journal_path)
    try:
        missing = {number: text for number, text in short.items() if number not in journal.outcomes}
        if missing:
            asyncio.run(_ask_all(missing, config, seed, journal, load))
        return [_text(journal.outcomes[number]) if number in short else None for number in range(len(prompts))]
    except EngineDied as error:
        raise UserError(f"{error}; the same command again goes on from here") from error
    finally:
        journal.close()


async def _ask_all(
    texts: Mapping[int, str],
    config: UpsampleConfig,
    seed: int,
    journal: Journal,
    load: Callable[[LlmConfig], ChatModel],
) -> None:
    model = load(config.chat_config())
    room = asyncio.Semaphore(model.max_in_flight)
    with tqdm(total=len(texts), desc="upsample", unit="prompt") as progress:

        async def one(number: int, text: str) -> None:
            async with room:
                journal.append({number: await _ask(model, text, config, f"{seed}-{number}")})
            progress.update()

        tasks = [asyncio.create_task(one(number, text)) for number, text in texts.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await model.close()


async def _ask(model: ChatModel, text: str, config: UpsampleConfig, seed: str) -> Outcome:
    """The first good answer of `tries`. Raises UserError for an engine too busy to answer: that may pass."""
    messages = [
        {"role": "system", "content": INSTRUCTION.format(max_words=config.max_words)},
        {"role": "user", "content": text},
    ]
    reason = ""
    for tries in range(config.tries):
        answer = await model.answer(messages, random.Random(f"upsample-{seed}-{tries}").getrandbits(31))
        if answer.transient:
            raise UserError(f"upsampling: {answer.error}; the same command again goes on from here")
        problem = fault(answer, text, config)
        if problem is None:
            dense = read_answer(answer.text, config.structured) or ""
            kept = Answer(dense, answer.finish_reason, answer.n_output_tokens)
            return Outcome("success", answers={REWRITTEN: kept})
        reason = problem
    return Outcome("refused", reason)


def fault(answer: Completion, prompt: str, config: UpsampleConfig) -> str | None:
    """What is wrong with an answer as a rewriting of `prompt`; None if nothing that can be told."""
    if answer.error is not None:
        return answer.error
    dense = read_answer(answer.text, config.structured)
    if dense is None:
        return "not the form asked for"
    if answer.finish_reason == "length":
        return "cut off at max_tokens"
    n_words = len(dense.split())
    if not len(prompt.split()) < n_words <= config.max_words:
        return f"{n_words} words"
    words, written = _words_of_content(prompt), _words_of_content(dense)
    lost = [word for word in words if word not in written]
    return f"lost {', '.join(sorted(lost)[:5])}" if len(lost) > MAX_LOST * len(words) else None


def _text(outcome: Outcome) -> str | None:
    return outcome.answers[REWRITTEN].caption_raw if outcome.answers else None


def _words_of_content(text: str) -> set[str]:
    # by their first four letters, so that "cubes" are the "cube" of before
    return {word[:4] for word in set(re.findall(r"\w{3,}", text.lower())) - FUNCTION_WORDS}
