"""Build the prompt set: a specification for every slot, a text that passes all checks, its questions and twins."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.decontaminate import PublicSet, nearest
from llm4gen_data.densprompts.neighbors import MAX_SIMILARITY, Neighbors
from llm4gen_data.densprompts.questions import Question, questions
from llm4gen_data.densprompts.sample import bucket_of, sample_spec, target_words
from llm4gen_data.densprompts.spec import LENGTHS, Spec
from llm4gen_data.densprompts.taxonomy import DEFAULT_N, quotas, slots
from llm4gen_data.densprompts.twins import Twin, twins
from llm4gen_data.densprompts.writers.grammar import Written, write_with_plans
from llm4gen_data.records import Prompt

ATTEMPTS = 3
SHORTEST, LONGEST = LENGTHS["short"][0], LENGTHS["long"][1]
SLOTS_A_TASK = 50
MAX_PROCESSES = 8


@dataclass(frozen=True, slots=True)
class DensePrompt:
    """A prompt, what it says, the questions by which a picture of it can be judged, and its counterfactual twins."""

    prompt: Prompt
    spec: Spec
    questions: tuple[Question, ...]
    twins: tuple[Twin, ...]
    plans: tuple[str, ...] = ()  # the grammar's plan of each sentence; none from a model
    similarity: float = 0.0  # to the nearest of the prompts before it


@dataclass
class Selection:
    """The texts taken so far; decides in order which others may join them."""

    public: Sequence[PublicSet] = ()
    neighbors: Neighbors = field(default_factory=Neighbors)

    def take(self, text: str) -> float | str:
        """The similarity to the nearest text so far, if this one now joins them; else the reason why not."""
        similarity = self.neighbors.nearest(text)
        if similarity >= MAX_SIMILARITY:
            return "near-duplicate"
        if nearest(text, self.public) >= MAX_SIMILARITY:
            return "near a public prompt"
        self.neighbors.add(text)
        return similarity


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the set: its number from 0, and what its prompt is about."""

    index: int
    category: str
    skill: str


def dense_prompts(n: int = DEFAULT_N, seed: int = 0) -> list[Prompt]:
    """`n` prompts as `llm4gen-data build-densprompts` writes them."""
    return [made.prompt for made in build(quotas(n), seed, Counter())]


def numbered_slots(shares: Mapping[str, int], seed: int) -> list[Slot]:
    """The slots of a set in its order."""
    return [Slot(index, category, skill) for index, (category, skill) in enumerate(slots(shares, seed))]


def build(
    shares: Mapping[str, int],
    seed: int,
    rejects: Counter[str],
    *,
    public: Sequence[PublicSet] = (),
    processes: int = 1,
) -> Iterator[DensePrompt]:
    """One prompt for every slot of `shares` (category -> number), by the grammar; all far enough from `public`.

    Texts that were refused are counted in `rejects` by reason. What comes out depends on `shares`, `seed` and
    `public` alone: `processes` write ahead, and which text is too near an earlier one is decided here, in order.
    """
    selection = Selection(public)
    for slot, (made, draws, refused) in _first_draws(numbered_slots(shares, seed), seed, processes):
        rejects.update(refused)
        while isinstance(verdict := selection.take(made.prompt.prompt), str):
            rejects[verdict] += 1
            made, draws, refused = _draw(slot, seed, draws)
            rejects.update(refused)
        yield replace(made, similarity=verdict)


def written_by_grammar(slot: Slot, seed: int, draws: int = 0) -> tuple[Spec, Written, int, Counter[str]]:
    """A specification for a slot after `draws` draws, its text, how many draws there were then, what was refused."""
    rejects: Counter[str] = Counter()
    while True:
        rng = random.Random(f"densprompts-{seed}-{slot.index}-{draws}")
        draws += 1
        n_words = target_words(rng)
        fitting = fit(sample_spec(slot.category, slot.skill, n_words, rng), n_words, rejects)
        if fitting is not None:
            return *fitting, draws, rejects


def dense_prompt(spec: Spec, text: str, plans: tuple[str, ...] = ()) -> DensePrompt:
    """A text with all that follows from its specification."""
    prompt_id = f"dp-{spec.spec_id[:12]}"
    prompt = Prompt(prompt_id, text, spec.category, len(text.split()), spec.to_json())
    asked = tuple(questions(spec))
    return DensePrompt(prompt, spec, asked, tuple(twins(prompt_id, text, spec, asked)), plans)


def fit(spec: Spec, n_words: int, rejects: Counter[str]) -> tuple[Spec, Written] | None:
    """The specification with as many of its details as bring the text nearest to `n_words`, and that text.

    None if no text passes the checks.
    """
    candidates = [replace(spec, details=spec.details[:n]) for n in range(len(spec.details) + 1)]
    drafts = [(candidate, write_with_plans(candidate)) for candidate in candidates]
    spec, written = min(drafts, key=lambda draft: abs(len(draft[1].text.split()) - n_words))
    for attempt in range(1, ATTEMPTS + 1):
        n = len(written.text.split())
        if SHORTEST <= n <= LONGEST:
            # The text decides on which side of a bucket's edge it falls; else few prompts would lie near the edges.
            spec = replace(spec, length=bucket_of(n))
        problems = check(written.text, spec)
        if not problems:
            return spec, written
        rejects.update({problem.reason for problem in problems})
        written = write_with_plans(spec, attempt)
    return None


def default_processes(n: int) -> int:
    """How many processes write `n` prompts: one a core, and none beside this one for a few prompts."""
    return 1 if n < 4 * SLOTS_A_TASK else min(MAX_PROCESSES, len(os.sched_getaffinity(0)))


def _first_draws(dealt: Sequence[Slot], seed: int, processes: int) -> Iterator[tuple[Slot, _Draw]]:
    if processes == 1:
        yield from ((slot, _draw(slot, seed)) for slot in dealt)
        return
    tasks = [dealt[at : at + SLOTS_A_TASK] for at in range(0, len(dealt), SLOTS_A_TASK)]
    # not by fork: whoever asks for prompts may have threads
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processes, context, initializer=_end_with_parent) as pool:
        try:
            for task, made in zip(tasks, pool.map(_draw_all, tasks, [seed] * len(tasks)), strict=True):
                yield from zip(task, made, strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_Draw = tuple[DensePrompt, int, Counter[str]]


def _draw_all(task: Sequence[Slot], seed: int) -> list[_Draw]:
    return [_draw(slot, seed) for slot in task]


def _draw(slot: Slot, seed: int, draws: int = 0) -> _Draw:
    spec, written, draws, rejects = written_by_grammar(slot, seed, draws)
    return replace(dense_prompt(spec, written.text), plans=written.plans), draws, rejects


def _end_with_parent() -> None:
    # Ctrl-C reaches the whole process group, and the parent decides; one that is killed takes its workers along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
