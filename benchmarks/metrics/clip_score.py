"""CLIPScore: how near a CLIP model puts a picture and its prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from PIL.Image import Image

from benchmarks.encoders import EncoderSpec, Features, encode, load_encoder
from benchmarks.metrics.clip_encoder import ClipEncoder, normalised
from benchmarks.records import Score
from llm4gen_data.records import Prompt


class ClipScore:
    """100 x the cosine between the L2-normalised embeddings of picture and prompt, not clamped.

    A prompt longer than the text encoder's context is cut by OpenAI's rule: the end token, from which the embedding
    is taken, is put back at the last position. `model` is a bundled model, a folder or a hub id of a transformers
    CLIPModel with safetensors weights.

    Raises UserError if there is no such model.
    """

    headline = "cosine"
    unit = "100 x cosine"
    digits = 2

    def __init__(self, model: str, revision: str | None = None, dtype: str = "float32", device: str = "cpu") -> None:
        self.uses = (EncoderSpec("clip", model, revision, dtype, device),)
        self.encoder: ClipEncoder = load_encoder(self.uses[0])

    def identity(self) -> dict[str, Any]:
        """Metric and model, scale and truncation."""
        return {
            "metric": "clip_score",
            "version": 1,
            **self.encoder.identity(),
            "scale": "100 x cosine, not clamped",
            "truncation": "OpenAI: end token put back at the last position",
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text has an embedding."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score a pair, of the kind `cosine`."""
        seen = normalised((features or encode(self.uses, images))[self.uses[0]])
        texts = self.encoder.text_embeds([prompt.prompt for prompt in prompts])
        cosines = (seen * texts).sum(axis=-1).tolist()
        return [
            [self._score(100 * cosine, self.encoder.token_ids(prompt.prompt)[1])]
            for cosine, prompt in zip(cosines, prompts, strict=True)
        ]

    def _score(self, value: float, n_tokens: int) -> Score:
        context = self.encoder.context
        cut = n_tokens > context
        read = f"only {context} of the prompt's {n_tokens} tokens read" if cut else f"all {n_tokens} tokens read"
        return Score(self.headline, value, f"{self.unit} by {self.encoder.model}; {read}", truncated=cut)
