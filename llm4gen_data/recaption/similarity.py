"""How well a caption fits its image, by a CLIP-like model of transformers; long captions in windows of its context."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from statistics import fmean
from typing import Any

import pyarrow as pa

from llm4gen_data.recaption.captioner import model_fingerprint, model_path
from llm4gen_data.recaption.prepare import ImageError, prepare

# CLIP reads 77 tokens, a refined caption is longer; cut off, only its beginning would be judged. So its sentences
# are packed, in order, into as few windows of the context as hold them (a longer sentence is divided), and the
# similarity is the mean of the windows' cosines. A new policy gets a new name.
POLICY = "mean over windows of whole sentences, version 1"
BATCH_IMAGES = 32
# More than any CLIP sees; keeps the decoding of large images cheap.
MAX_PIXELS = 512 * 512
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Similarity:
    """A CLIP-like model, loaded when it is first asked."""

    model: str
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        # frozen: what it says of itself may not change between shards
        object.__setattr__(self, "identity", {"model": model_fingerprint(self.model, None), "policy": POLICY})

    def of_rows(self, table: pa.Table) -> pa.Array:
        """The cosine similarity of `image` and `caption_raw` of each row, -1 to 1, float32; null where one is missing.

        The caption is read as cleaned: stock openings fit every image.
        """
        from llm4gen_data.recaption.gates import clean

        similarities: list[float | None] = [None] * table.num_rows
        pairs = []
        for i in range(table.num_rows):
            data, caption = table["image"][i].as_py(), table["caption_raw"][i].as_py()
            if data is None or not (caption and clean(caption)):
                continue
            try:
                pairs.append((i, prepare(data["bytes"], MAX_PIXELS).image, clean(caption)))
            except ImageError:
                continue
            if len(pairs) == BATCH_IMAGES:
                self._into(similarities, pairs)
                pairs = []
        if pairs:
            self._into(similarities, pairs)
        return pa.array(similarities, pa.float32())

    def of_pairs(self, images: Sequence[Any], captions: Sequence[str]) -> list[float]:
        """The similarity of each RGB image to its caption."""
        import torch

        model, processor = self._loaded
        windows = [pack(caption, self._n_tokens, self._context) for caption in captions]
        flat = [window for own in windows for window in own]
        texts = processor.tokenizer(
            flat, padding="max_length", truncation=True, max_length=self._context, return_tensors="pt"
        )
        pixels = processor.image_processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            image_features = _features(model.get_image_features(**pixels.to(model.device, model.dtype)))
            text_features = _features(model.get_text_features(**texts.to(model.device)))
        n_windows = [len(own) for own in windows]
        own_image = torch.repeat_interleave(image_features, torch.tensor(n_windows, device=model.device), dim=0)
        cosines = iter(torch.nn.functional.cosine_similarity(own_image, text_features).tolist())
        return [fmean(islice(cosines, n)) for n in n_windows]

    def _into(self, similarities: list[float | None], pairs: Sequence[tuple[int, Any, str]]) -> None:
        rows, images, captions = zip(*pairs, strict=True)
        for row, value in zip(rows, self.of_pairs(images, captions), strict=True):
            similarities[row] = value

    def _n_tokens(self, text: str) -> int:
        return len(self._loaded[1].tokenizer(text, verbose=False)["input_ids"])

    @cached_property
    def _context(self) -> int:
        return int(self._loaded[0].config.text_config.max_position_embeddings)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoProcessor, logging

        from llm4gen_data.errors import UserError

        path = model_path(self.model)
        logging.disable_progress_bar()
        try:
            model, processor = AutoModel.from_pretrained(path), AutoProcessor.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise UserError(f"gates.similarity_model = {self.model!r}: cannot be loaded: {error}") from error
        if not hasattr(model, "get_text_features"):
            raise UserError(f"gates.similarity_model = {self.model!r}: is no model of images and texts, such as CLIP")
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor


def pack(text: str, n_tokens: Any, context: int) -> list[str]:
    """The sentences of a text in as few windows of at most `context` tokens as hold them, in order.

    `n_tokens(text)` counts, special tokens included. A sentence that is longer by itself is divided at words.
    """
    pieces = [piece for sentence in SENTENCE_END.split(text) for piece in _divided(sentence, n_tokens, context)]
    windows = [pieces[0]]
    for piece in pieces[1:]:
        joined = f"{windows[-1]} {piece}"
        if n_tokens(joined) <= context:
            windows[-1] = joined
        else:
            windows.append(piece)
    return windows


def _divided(sentence: str, n_tokens: Any, context: int) -> list[str]:
    words = sentence.split()
    if n_tokens(sentence) <= context or len(words) < 2:
        return [sentence]
    half = len(words) // 2
    return [
        *_divided(" ".join(words[:half]), n_tokens, context),
        *_divided(" ".join(words[half:]), n_tokens, context),
    ]


def _features(output: Any) -> Any:
    """transformers 5 gives an output object where 4 gave the tensor."""
    return getattr(output, "pooler_output", output)
