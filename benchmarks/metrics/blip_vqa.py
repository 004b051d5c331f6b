"""BLIP-VQA from its original checkpoint, as T2I-CompBench asks it: 480 px, `[ENC]` first, P("yes") against P("no").

The conversion on the Hugging Face hub is of another image size and leaves `[ENC]` out: it cannot give these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image, Resampling

from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file

if TYPE_CHECKING:
    import torch

    from benchmarks.metrics.blip_model import BlipModel

WEIGHTS_NAME = "model_base_vqa_capfilt_large.pth"
WEIGHTS_URL = f"https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/{WEIGHTS_NAME}"
VOCABULARY = "google-bert/bert-base-uncased"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MAX_TOKENS = 35


def load_original_checkpoint(
    path_or_state_dict: str | Path | Mapping[str, torch.Tensor],
    *,
    image_size: int = 480,
    vision_heads: int = 12,
    text_heads: int = 12,
) -> BlipModel:
    """The original BLIP-VQA weights on transformers' BLIP in float32; all other sizes are read from the tensors.

    `image_size` is in pixels. The result has `yes_probability(pixel_values [B,3,H,W], question_ids [B,L],
    question_mask [B,L]) -> [B]`. Raises UserError for tensors that are missing, misshapen or of no such model.
    """
    from benchmarks.metrics.blip_checkpoint import blip_from_original
    from benchmarks.metrics.blip_model import BlipModel

    return BlipModel(blip_from_original(path_or_state_dict, image_size, vision_heads, text_heads))


class BlipVqa:
    """The VQA model `blip_vqa`: `weights` is the original's file, `vocabulary` a vocab.txt, a folder or a hub id.

    Raises UserError without the weights, naming the file and where it is to be had.
    """

    def __init__(
        self,
        weights: str | None = None,
        vocabulary: str = VOCABULARY,
        image_size: int = 480,
        vision_heads: int = 12,
        text_heads: int = 12,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if weights is None or not Path(weights).is_file():
            found = "no weights given" if weights is None else f"{weights}: no such file"
            raise UserError(
                f"blip_vqa: {found}; expected {WEIGHTS_NAME} from {WEIGHTS_URL} (its authors publish no sha256), "
                "given as its option, e.g. --set t2i_compbench.vqa_options.weights=FILE"
            )
        self.weights, self.vocabulary, self.dtype, self.device = Path(weights), vocabulary, dtype, device
        self.sizes = {"image_size": image_size, "vision_heads": vision_heads, "text_heads": text_heads}

    def identity(self) -> dict[str, Any]:
        """The weights by sha256, the preprocessing, and that questions start with [ENC]."""
        return {
            "vqa": "blip_vqa",
            "version": 1,
            "weights": self._sha256,
            "vocabulary": Path(self.vocabulary).name,
            "question": f"[ENC] first, at most {MAX_TOKENS} tokens",
            "preprocessing": {"resize": "bicubic, aspect not kept", "image_mean": MEAN, "image_std": STD},
            "pillow": pillow_version,
            "dtype": self.dtype,
            **self.sizes,
        }

    def answer_probabilities(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], answers: tuple[str, str] = ("yes", "no")
    ) -> list[list[float]]:
        """For each RGB image and question P(first) / (P(first) + P(second)); an image is encoded once.

        Raises UserError for an answer that is no single token of the vocabulary.
        """
        import torch

        asked = [i for i, own in enumerate(questions) if own]
        if not asked:
            return [[] for _ in questions]
        answer_ids = [self._answer_id(answer) for answer in answers]
        batch = self._tokenizer(
            [question for i in asked for question in questions[i]],
            padding="longest",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        counts = [len(questions[i]) for i in asked]
        # TF32 would change the third decimal
        with torch.backends.cudnn.flags(allow_tf32=False):
            model = self._model  # tells first of a device that cannot be used
            states = model.image_states(self._pixels([images[i] for i in asked]))
            ids, mask = (batch[name].to(self.device) for name in ("input_ids", "attention_mask"))
            logits = model.answer_logits(states, counts, ids, mask, answer_ids)
        values = torch.split(logits.float().softmax(dim=-1)[:, 0].cpu(), counts)
        by_image = {i: own.tolist() for i, own in zip(asked, values, strict=True)}
        return [by_image.get(i, []) for i in range(len(questions))]

    def _pixels(self, images: Sequence[Image]) -> torch.Tensor:
        import numpy as np
        import torch

        size = (self.sizes["image_size"],) * 2
        resized = [np.asarray(image.convert("RGB").resize(size, Resampling.BICUBIC)) for image in images]
        values = torch.from_numpy(np.stack(resized)).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values_, device=self.device)[:, None, None] for values_ in (MEAN, STD))
        return ((values - mean) / std).to(getattr(torch, self.dtype))

    def _answer_id(self, answer: str) -> int:
        ids: list[int] = self._tokenizer(answer, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise UserError(f"blip_vqa: answer {answer!r}: expected a single word of the vocabulary")
        return ids[0]

    @cached_property
    def _sha256(self) -> str:
        return sha256_file(self.weights)

    @cached_property
    def _model(self) -> BlipModel:
        import torch

        model = load_original_checkpoint(self.weights, **self.sizes)
        try:
            model.blip.to(self.device, getattr(torch, self.dtype))
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"blip_vqa: device {self.device!r} cannot be used: {error}") from error
        return model

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer, BertTokenizer

        try:
            if Path(self.vocabulary).is_file():
                return BertTokenizer(vocab=self.vocabulary)
            return AutoTokenizer.from_pretrained(self.vocabulary)
        except (OSError, ValueError) as error:
            raise UserError(
                f"blip_vqa: the BERT vocabulary {self.vocabulary!r} cannot be loaded; give the vocab.txt of "
                f"{VOCABULARY} as --set t2i_compbench.vqa_options.vocabulary=FILE"
            ) from error
