"""Every type that crosses a package border; plain frozen data, images as bytes or paths, never tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """One row of LAION-refined; `parquet.CAPTION_SCHEMA` is its Arrow form, column for column.

    Sizes are pixels: `width` x `height` of the upright image, `seen_width` x `seen_height` of what the
    captioner was shown. `caption_raw` is what the model wrote; `caption` is the same text after the gates
    stripped stock openings. A row that could not be captioned keeps its place with `status` other than
    "success", an `error_message` and null captions.
    """

    key: str
    url: str | None
    sha256: str | None
    image: dict[str, Any] | None
    width: int | None
    height: int | None
    seen_width: int | None
    seen_height: int | None
    alt_text: str | None
    instruction: str
    caption_raw: str | None
    caption: str | None
    n_words: int | None
    finish_reason: str | None
    n_output_tokens: int | None
    status: str
    error_message: str | None
    keep: bool
    reject_reasons: list[str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a prompt set; words are counted by `len(prompt.split())`, `spec` is JSON."""

    prompt_id: str
    prompt: str
    category: str
    n_words: int
    spec: str | None


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One image of an image manifest: which prompt, seed and model made the file at `path`."""

    prompt_id: str
    prompt: str
    seed: int
    sample_index: int
    model: str
    path: str
    sha256: str
