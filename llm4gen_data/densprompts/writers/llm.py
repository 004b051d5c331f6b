"""The llm writer: a language model writes each specification; its answer is checked, repaired once, or rejected."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llm4gen_data.densprompts.build import (
    DensePrompt,
    Selection,
    Slot,
    dense_prompt,
    numbered_slots,
    written_by_grammar,
)
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.decontaminate import PublicSet
from llm4gen_data.densprompts.language import Problem
from llm4gen_data.densprompts.spec import Spec
from llm4gen_data.densprompts.taxonomy import QUOTAS
from llm4gen_data.densprompts.writers import instructions
from llm4gen_data.densprompts.writers.chat import SCHEMA, ChatModel, load_chat_model
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import Completion, EngineDied, model_fingerprint
from llm4gen_data.recaption.journal import Answer, Journal, Outcome

DRAFT, REPAIRED = "draft", "repaired"
CUT_OFF, NOT_STRUCTURED, NO_ANSWER = "cut off at max_tokens", "not the JSON asked for", "no answer"
N_EXAMPLES = 2
# So many answers without one of the form asked for, and none is to be expected.
MAX_NONSENSE = 32


@dataclass(frozen=True, slots=True)
class Reject:
    """A specification that came to no prompt: what the model wrote, last, and why that was refused."""

    index: int
    tries: int
    category: str
    skill: str
    reasons: list[str]
    problems: list[str]
    answer: str
    spec: str


@dataclass
class Built:
    """What came of a build: the prompts in the order of their slots, the rejects, and how many answers it took."""

    model: str
    preset: str
    made: list[DensePrompt] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    n_repaired: int = 0

    @property
    def reasons(self) -> Counter[str]:
        """How many rejects have each reason; one may have several."""
        return Counter(reason for reject in self.rejects for reason in reject.reasons)

    def summary(self) -> dict[str, Any]:
        """As the manifest has it; asked = accepted + rejected, repaired are among the accepted."""
        return {
            "model": self.model,
            "preset": self.preset,
            "n_asked": len(self.made) + len(self.rejects),
            "n_accepted": len(self.made),
            "n_repaired": self.n_repaired,
        }


def fingerprint(config: LlmConfig) -> dict[str, Any]:
    """What can change what the model writes. Raises UsageError without a model or for an unknown preset."""
    instructions.require_preset(config.preset)
    model = config.settings().model
    served = config.engine.base_url is not None
    asked = json.dumps(
        [instructions.PRESETS[config.preset], instructions.REPAIR, SCHEMA if config.structured else None]
    )
    return {
        **({"model": model} if served else model_fingerprint(model, config.revision)),
        "preset": config.preset,
        "instructions": hashlib.sha256(asked.encode()).hexdigest()[:16],
        "tries": config.tries,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "repetition_penalty": config.repetition_penalty,
    }


def build_with_llm(
    shares: Mapping[str, int],
    seed: int,
    config: LlmConfig,
    journal_path: Path,
    *,
    public: Sequence[PublicSet] = (),
    load: Callable[[LlmConfig], ChatModel] = load_chat_model,
) -> Built:
    """At most one prompt for every slot of `shares`, written by the model of `config`.

    Every answer is in the journal before it counts: the same call after a kill asks only for what is missing.
    Raises UserError if the model cannot be had, dies, or answers nonsense only.
    """
    journal = Journal(journal_path)
    try:
        return asyncio.run(_build(numbered_slots(shares, seed), seed, config, journal, public, load))
    except EngineDied as error:
        raise UserError(f"{error}; the same command again goes on from here") from error
    finally:
        journal.close()


async def _build(
    dealt: Sequence[Slot],
    seed: int,
    config: LlmConfig,
    journal: Journal,
    public: Sequence[PublicSet],
    load: Callable[[LlmConfig], ChatModel],
) -> Built:
    built = Built(str(config.model), config.preset)
    selection = Selection(public)
    made: dict[int, DensePrompt] = {}
    draws = dict.fromkeys(dealt, 0)
    writer = _Writer(config, seed, journal, load)
    try:
        for tries in range(1, config.tries + 1):
            # Slots that stayed empty are asked for again by new specifications; the grammar finds those that can be
            # told in the right number of words.
            left: dict[Slot, tuple[Spec, str]] = {}
            for slot in dealt:
                if slot.index not in made:
                    spec, written, draws[slot], _ = written_by_grammar(slot, seed, draws[slot])
                    left[slot] = (spec, written.text)
            outcomes = await writer.write(left, tries)
            for slot, (spec, _) in left.items():
                text, problems, answer = verdict(outcomes[slot], spec, config.structured)
                if not problems and text is not None:
                    taken = selection.take(text)
                    if not isinstance(taken, str):
                        made[slot.index] = replace(dense_prompt(spec, text), similarity=taken)
                        built.n_repaired += REPAIRED in outcomes[slot].answers
                        continue
                    problems = [Problem(taken, text[:40])]
                built.rejects.append(_reject(slot, tries, problems, answer, spec))
    finally:
        await writer.close()
    built.made = [made[index] for index in sorted(made)]
    return built


def verdict(outcome: Outcome, spec: Spec, structured: bool) -> tuple[str | None, list[Problem], str]:
    """The text of an outcome (None: there is none), what is wrong with it, and the model's last answer."""
    if not outcome.answers:
        return None, [Problem(NO_ANSWER, outcome.error_message or "")], ""
    answer = outcome.answers.get(REPAIRED, outcome.answers.get(DRAFT))
    assert answer is not None
    text, problems = judge(answer, spec, structured)
    return text, problems, answer.caption_raw


def judge(answer: Answer, spec: Spec, structured: bool) -> tuple[str | None, list[Problem]]:
    """The text in an answer (None: there is none), and everything that is wrong with it."""
    text = read_answer(answer.caption_raw, structured)
    if text is not None and answer.finish_reason != "length":
        return text, check(text, spec)
    reason = CUT_OFF if answer.finish_reason == "length" else NOT_STRUCTURED
    return None, [Problem(reason, " ".join(answer.caption_raw[:60].split()))]


def read_answer(answer: str, structured: bool) -> str | None:
    """The description in a model's answer, white space evened out; None if it is not of the form asked for."""
    if structured:
        try:
            values = json.loads(answer)
        except ValueError:
            return None
        if not isinstance(values, dict) or not isinstance(values.get("description"), str):
            return None
        answer = values["description"]
    return " ".join(answer.split()) or None


class _Writer:
    """Asks the model for what the journal does not hold; the model is loaded when it is first needed."""

    def __init__(self, config: LlmConfig, seed: int, journal: Journal, load: Callable[[LlmConfig], ChatModel]) -> None:
        self._config = config
        self._seed = seed
        self._journal = journal
        self._load = load
        self._model: ChatModel | None = None
        self._n_nonsense = 0  # answers that are not JSON before the first that is; then -1

    async def write(self, specs: Mapping[Slot, tuple[Spec, str]], tries: int) -> dict[Slot, Outcome]:
        """The outcome of every specification (beside it, the grammar's text), from the journal or from the model."""
        rows = {slot: slot.index * self._config.tries + tries - 1 for slot in specs}
        missing = [slot for slot in specs if rows[slot] not in self._journal.outcomes]
        if missing and self._model is None:
            self._model = self._load(self._config)
        outcomes = {slot: self._journal.outcomes[rows[slot]] for slot in specs if slot not in set(missing)}
        if self._model is not None:
            room = asyncio.Semaphore(self._model.max_in_flight)
            bar = tqdm(total=len(missing), desc=f"prompts, try {tries}", unit="prompt")

            async def one(model: ChatModel, slot: Slot) -> None:
                async with room:
                    outcomes[slot] = await self._write(model, *specs[slot], rows[slot])
                if outcomes[slot].status == "success":  # else the next start asks again
                    self._journal.append({rows[slot]: outcomes[slot]})
                bar.update()

            tasks = [asyncio.create_task(one(self._model, slot)) for slot in missing]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                bar.close()
        return outcomes

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()

    async def _write(self, model: ChatModel, spec: Spec, grammar: str, row: int) -> Outcome:
        """Draft, check, and repair if need be."""
        preset = self._config.preset
        shown = _examples(self._seed, row) if preset == "paper" else [grammar]
        asked = instructions.messages(spec, preset, shown)
        draft = await model.answer(asked, self._answer_seed(row, DRAFT))
        if draft.error is not None:
            return Outcome("error", draft.error)
        answers = {DRAFT: _answer(draft)}
        text, problems = judge(answers[DRAFT], spec, self._config.structured)
        self._refuse_nonsense(problems)
        if problems:
            again = instructions.repair_messages(asked, text or draft.text, problems)
            repaired = await model.answer(again, self._answer_seed(row, REPAIRED))
            if repaired.error is not None and repaired.transient:
                return Outcome("error", repaired.error)
            if repaired.error is None:
                answers[REPAIRED] = _answer(repaired)
        return Outcome("success", answers=answers)

    def _refuse_nonsense(self, problems: Sequence[Problem]) -> None:
        """Raise UserError for a server that ignores the schema, before it is asked thousands of times."""
        nonsense = next((problem for problem in problems if problem.reason == NOT_STRUCTURED), None)
        if nonsense is None:
            self._n_nonsense = -1
        elif self._n_nonsense >= 0:
            self._n_nonsense += 1
            if self._n_nonsense >= MAX_NONSENSE:
                raise UserError(
                    f"{self._config.model}: {MAX_NONSENSE} answers and none is the JSON asked for, "
                    f"the last begins {nonsense.what!r}; --set llm.structured=false takes answers as plain text"
                )

    def _answer_seed(self, row: int, step: str) -> int:
        return random.Random(f"llm-{self._seed}-{row}-{step}").getrandbits(31)


def _examples(seed: int, row: int) -> list[str]:
    """Prompts of the grammar, of specifications that are not in the set, to show the manner."""
    rng = random.Random(f"examples-{seed}-{row}")
    slots = [Slot(rng.getrandbits(31), category, "color") for category in rng.sample(list(QUOTAS), N_EXAMPLES)]
    return [written_by_grammar(slot, seed)[1].text for slot in slots]


def _answer(completion: Completion) -> Answer:
    return Answer(completion.text, completion.finish_reason, completion.n_output_tokens)


def _reject(slot: Slot, tries: int, problems: Sequence[Problem], answer: str, spec: Spec) -> Reject:
    reasons = sorted({problem.reason for problem in problems})
    told = [f"{problem.reason}: {problem.what}" for problem in problems]
    return Reject(slot.index, tries, slot.category, slot.skill, reasons, told, answer, spec.to_json())
