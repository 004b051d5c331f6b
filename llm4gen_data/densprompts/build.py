"""Build the prompt set: a specification for every slot, a text that passes all checks, and its questions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.neighbors import Neighbors
from llm4gen_data.densprompts.questions import Question, questions
from llm4gen_data.densprompts.sample import sample_spec, target_words
from llm4gen_data.densprompts.spec import Spec
from llm4gen_data.densprompts.taxonomy import DEFAULT_N, slots
from llm4gen_data.densprompts.writers.grammar import write
from llm4gen_data.records import Prompt

# Prompts may share at most this much of their 5-grams (Jaccard).
MAX_SIMILARITY = 0.2
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class DensePrompt:
    """A prompt, what it says, and the questions by which a picture of it can be judged."""

    prompt: Prompt
    spec: Spec
    questions: tuple[Question, ...]
    similarity: float  # to the nearest of the prompts before it


def dense_prompts(n: int = DEFAULT_N, seed: int = 0) -> list[Prompt]:
    """`n` prompts as `llm4gen-data build-densprompts` writes them."""
    return [made.prompt for made in build(n, seed, Counter())]


def build(n: int, seed: int, rejects: Counter[str]) -> Iterator[DensePrompt]:
    """`n` distinct prompts in the proportions of the taxonomy; drafts that were refused are counted by reason."""
    neighbors = Neighbors()
    for index, (category, skill) in enumerate(slots(n, seed)):
        rng = random.Random(f"densprompts-{seed}-{index}")
        while True:
            n_words = target_words(rng)
            written = fit(sample_spec(category, skill, n_words, rng), n_words, rejects)
            if written is None:
                continue
            spec, text = written
            similarity = neighbors.nearest(text)
            if similarity <= MAX_SIMILARITY:
                break
            rejects["near-duplicate"] += 1
        neighbors.add(text)
        prompt_id = f"dp-{spec.spec_id[:12]}"
        prompt = Prompt(prompt_id, text, category, len(text.split()), spec.to_json())
        yield DensePrompt(prompt, spec, tuple(questions(spec)), similarity)


def fit(spec: Spec, n_words: int, rejects: Counter[str]) -> tuple[Spec, str] | None:
    """The specification with as many of its details as bring the text nearest to `n_words`, and that text.

    None if no text passes the checks.
    """
    candidates = [replace(spec, details=spec.details[:n]) for n in range(len(spec.details) + 1)]
    drafts = [(candidate, write(candidate)) for candidate in candidates]
    spec, text = min(drafts, key=lambda draft: abs(len(draft[1].split()) - n_words))
    for attempt in range(1, ATTEMPTS + 1):
        problems = check(text, spec)
        if not problems:
            return spec, text
        rejects.update({problem.reason for problem in problems})
        text = write(spec, attempt)
    return None
