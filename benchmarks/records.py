"""What the stages of the evaluator hand to each other; plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm4gen_data.records import Prompt


@dataclass(frozen=True, slots=True)
class BenchImage:
    """One image to score: a row of the image manifest in `folder`, with its prompt.

    `path` is relative to `folder` and known to stay inside it. An image that cannot be scored keeps its place with
    the `problem` in words.
    """

    model: str
    prompt: Prompt
    seed: int
    sample_index: int
    folder: Path
    path: str
    sha256: str
    problem: str | None = None

    @property
    def file(self) -> Path:
        """Where the image lies."""
        return self.folder / self.path

    @property
    def key(self) -> tuple[str, int, int]:
        """What two models' images of the same prompt and the same noise have in common."""
        return (self.prompt.prompt_id, self.seed, self.sample_index)


@dataclass(frozen=True, slots=True)
class Score:
    """One number of one metric for one image, or the reason why there is none.

    `value` is None exactly where `error_message` is not. `truncated`: whether the metric read only part of the
    prompt, None where that cannot happen. `reason` tells a person where the value comes from.
    """

    kind: str
    value: float | None
    reason: str | None = None
    truncated: bool | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class CorpusScore:
    """One number of all pictures of a model together; `note` says what it is of, or why there is none."""

    kind: str
    value: float | None
    note: str
