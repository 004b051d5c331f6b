"""Scorers trained on which of two pictures people prefer: PickScore and HPSv2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from benchmarks.encoders import EncoderSpec, Features, encode, load_encoder
from benchmarks.metrics.clip_encoder import normalised
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

HPS_FILES = {"2.1": "HPS_v2.1_compressed.pt", "2.0": "HPS_v2_compressed.pt"}
HPS_URL = "https://huggingface.co/xswu/HPSv2/resolve/main/{}"


class PickScore:
    """logit scale x cosine by a CLIP ViT-H/14 trained on Pick-a-Pic (arXiv 2305.01569).

    `processor` is where tokenizer and preprocessing come from. Prompts beyond 77 tokens are cut, as the original does
    without a word; `truncated` tells. Raises UserError if there is no such model.
    """

    headline = "pick_score"
    unit = "logit scale x cosine"
    digits = 3

    def __init__(
        self,
        model: str = "yuvalkirstain/PickScore_v1",
        processor: str | None = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.uses = (EncoderSpec("clip", model, revision, dtype, device, processor),)
        self.encoder = load_encoder(self.uses[0])

    def identity(self) -> dict[str, Any]:
        """Metric and model."""
        return {"metric": "pick_score", "version": 1, **self.encoder.identity(), "scale": self.unit}

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text has an embedding."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score a pair, of the kind `pick_score`."""
        seen = (features or encode(self.uses, images))[self.uses[0]]
        return _scores(self, seen, prompts, self.encoder.logit_scale)


class HpsV2:
    """100 x cosine by a CLIP ViT-H/14 trained on HPD v2 (arXiv 2306.09341).

    `weights` is the original's file of `hps_version` "2.1" or "2.0", whose values do not compare; `tokenizer` a folder
    or hub id with CLIP's tokenizer. Raises UserError if the file is missing.
    """

    headline = "hps"
    unit = "100 x cosine"
    digits = 2

    def __init__(
        self,
        weights: Path | str | None,
        hps_version: str = "2.1",
        tokenizer: str = "openai/clip-vit-large-patch14",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if hps_version not in HPS_FILES:
            raise UserError(f"hps: hps_version {hps_version!r}: expected {' or '.join(HPS_FILES)}")
        if weights is None or not Path(weights).is_file():
            name = HPS_FILES[hps_version]
            raise UserError(
                f"hps: the weights {weights or name} are missing: fetch {HPS_URL.format(name)} (its page shows the "
                "sha256, and so does every score) and give --set hps.weights=FILE"
            )
        self.hps_version = hps_version
        self.uses = (EncoderSpec("open_clip", str(weights), None, dtype, device, tokenizer),)
        self.encoder = load_encoder(self.uses[0])

    def identity(self) -> dict[str, Any]:
        """Metric, its version and the weights."""
        identity = self.encoder.identity()
        return {"metric": "hps", "version": 1, "hps_version": self.hps_version, **identity, "scale": self.unit}

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text has an embedding."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score a pair, of the kind `hps`."""
        seen = (features or encode(self.uses, images))[self.uses[0]]
        return _scores(self, seen, prompts, 100.0)


def _scores(metric: PickScore | HpsV2, seen: Any, prompts: Sequence[Prompt], scale: float) -> list[list[Score]]:
    encoder = metric.encoder
    texts = encoder.text_embeds([prompt.prompt for prompt in prompts])
    cosines = (normalised(seen) * texts).sum(axis=-1).tolist()
    scores = []
    for cosine, prompt in zip(cosines, prompts, strict=True):
        n_tokens = encoder.token_ids(prompt.prompt)[1]
        reason = f"{metric.unit} by {encoder.model}; {min(n_tokens, encoder.context)} of {n_tokens} tokens read"
        scores.append([Score(metric.headline, scale * cosine, reason, truncated=n_tokens > encoder.context)])
    return scores
