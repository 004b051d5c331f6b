"""CLIPScore for prompts that are longer than the text encoder reads: in parts, or by a model that reads more.

None of these is CLIPScore: each has a name of its own, and no published number compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from PIL.Image import Image

from benchmarks.encoders import EncoderSpec, Features, encode, load_encoder
from benchmarks.metrics.clip_encoder import ClipEncoder, normalised
from benchmarks.metrics.clip_score import ClipScore
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
LONG_CONTEXT = 248  # Long-CLIP's (arXiv 2403.15378)


class ChunkedClipScore:
    """Cosines of the picture with each sentence of the prompt, 100 x their mean and their minimum, not clamped.

    A sentence longer than the context is cut between words into as few parts as hold it, so that all is read. `mean`
    tells how well the sentences are met, `min` how well the worst; `headline` is the one that leads.
    """

    unit = "100 x cosine"
    digits = 2

    def __init__(
        self, headline: str, model: str, revision: str | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        self.headline = headline
        self.uses = (EncoderSpec("clip", model, revision, dtype, device),)
        self.encoder: ClipEncoder = load_encoder(self.uses[0])

    def identity(self) -> dict[str, Any]:
        """Metric and model, scale and how prompts are parted."""
        return {
            "metric": f"clip_score.chunk_{self.headline}",
            "version": 1,
            **self.encoder.identity(),
            "scale": "100 x cosine, not clamped",
            "chunks": "sentences, those beyond the context cut between words",
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text has an embedding."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score a pair, of the kind `mean` or `min`."""
        seen = normalised((features or encode(self.uses, images))[self.uses[0]])
        parts = [chunks(prompt.prompt, self._n_tokens, self.encoder.context) for prompt in prompts]
        embeds = iter(self.encoder.text_embeds([part for own in parts for part in own]))
        scores = []
        for own, picture in zip(parts, seen, strict=True):
            cosines = [100 * float(next(embeds) @ picture) for _ in own]
            value = min(cosines) if self.headline == "min" else sum(cosines) / len(cosines)
            told = "; ".join(f"{cosine:.2f} {part!r}" for cosine, part in zip(cosines, own, strict=True))
            reason = f"{self.headline} of {len(own)} parts by {self.encoder.model}: {told}"
            scores.append([Score(self.headline, value, reason, truncated=False)])
        return scores

    def _n_tokens(self, text: str) -> int:
        return self.encoder.token_ids(text)[1]


def chunk_mean(**options: Any) -> ChunkedClipScore:
    """Mean over the sentences."""
    return ChunkedClipScore("mean", **options)


def chunk_min(**options: Any) -> ChunkedClipScore:
    """The sentence that the picture meets worst."""
    return ChunkedClipScore("min", **options)


class LongClipScore(ClipScore):
    """CLIPScore by a CLIP that reads 248 tokens or more (Long-CLIP in transformers' format).

    Raises UserError for a model with a shorter context.
    """

    def __init__(self, model: str, revision: str | None = None, dtype: str = "float32", device: str = "cpu") -> None:
        super().__init__(model, revision, dtype, device)
        if self.encoder.context < LONG_CONTEXT:
            raise UserError(
                f"long_clip: {model} reads {self.encoder.context} tokens, expected a model that reads at least "
                f"{LONG_CONTEXT}: --set long_clip.model=..."
            )

    def identity(self) -> dict[str, Any]:
        """As CLIPScore's, under its own name."""
        return {**super().identity(), "metric": "long_clip", "context": self.encoder.context}


def chunks(text: str, n_tokens: Callable[[str], int], context: int) -> list[str]:
    """The sentences of a text, each of at most `context` tokens; a single word beyond it stays whole."""
    parts: list[str] = []
    for sentence in SENTENCE_END.split(text.strip()):
        words = sentence.split()
        while words:
            n = _n_that_fit(words, n_tokens, context)
            parts.append(" ".join(words[:n]))
            words = words[n:]
    return parts or [text]


def _n_that_fit(words: Sequence[str], n_tokens: Callable[[str], int], context: int) -> int:
    """The most words from the start that fit, at least one; by halving."""
    if n_tokens(" ".join(words)) <= context:
        return len(words)
    low, high = 1, len(words)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if n_tokens(" ".join(words[:middle])) <= context else (low, middle)
    return low
