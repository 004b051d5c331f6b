"""CLIP-FlanT5 (Lin et al., ECCV 2024), from its published description: T5 reads CLIP's patches between its words.

The encoder reads SYSTEM, "USER:", the image, the question, "ASSISTANT:", cut at the image: each piece is tokenised
alone, so that an end token stands before the image too. A score is the geometric mean of the probabilities of the
answer's tokens, its end token included, not weighed against other answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL import __version__ as pillow_version

from benchmarks.metrics.pretrained import load_image_processor, load_model, model_folder, weights_identity
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import model_fingerprint

if TYPE_CHECKING:
    import torch

SOURCE = "https://huggingface.co/zhiqiulin/clip-flant5-xxl"
VISION_TOWER = "openai/clip-vit-large-patch14-336"
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BEFORE_IMAGE, AFTER_IMAGE = f"{SYSTEM} USER: ", "\n{} ASSISTANT: "
YES_OR_NO = "{} Please answer yes or no."
MAX_TOKENS = 2048
# The mean colour of CLIP's training images, as a pixel: what makes a picture square.
PAD_RGB = (122, 116, 104)


class ClipFlanT5:
    """The VQA model `clip_flant5`: `weights` is a folder with the released model, `vision_tower` a folder or hub id.

    Raises UserError without the weights, naming where they are to be had.
    """

    default_template = "clip-flant5"

    def __init__(
        self,
        weights: str | None = None,
        vision_tower: str = VISION_TOWER,
        dtype: str = "bfloat16",
        device: str = "cpu",
        batch_size: int = 16,
    ) -> None:
        if weights is None or not (Path(weights) / "config.json").is_file():
            found = "no weights given" if weights is None else f"{weights}: no config.json there"
            raise UserError(
                f"clip_flant5: {found}; expected the folder of {SOURCE} (its card lists each file's sha256), given as "
                "--set vqascore.vqa_options.weights=DIR"
            )
        self.folder, self.vision_tower, self.dtype, self.device = Path(weights), vision_tower, dtype, device
        self.batch_size = batch_size

    def identity(self) -> dict[str, Any]:
        """Both models' weights by sha256, the chat around the question, and how pictures are made square."""
        return {
            "vqa": "clip_flant5",
            "version": 1,
            "weights": model_fingerprint(str(self.folder), None)["sha256"],
            "vision_tower": weights_identity(self.vision_tower, None, self._vision_folder),
            "chat": f"{BEFORE_IMAGE}<image>{AFTER_IMAGE}",
            "score": "geometric mean over the answer's tokens and its end token",
            "preprocessing": f"padded square with {PAD_RGB}, then the vision tower's own",
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def answer_probabilities(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[Sequence[str]],
        answers: tuple[str, str] = ("yes", "no"),
    ) -> list[list[float]]:
        """For each RGB image and question P(first) / (P(first) + P(second)) of the answers' first tokens."""
        firsts = [self._tokenizer(answer.capitalize())["input_ids"][0] for answer in answers]
        if firsts[0] == firsts[1]:
            raise UserError(f"clip_flant5: answers {answers[0]!r} and {answers[1]!r} begin with the same token")
        asked = [[YES_OR_NO.format(question) for question in own] for own in questions]
        logits = self._logits(images, asked, [])
        return [own[:, 0, firsts].softmax(-1)[:, 0].tolist() for own in logits]

    def answer_likelihoods(
        self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]], answers: Sequence[str]
    ) -> list[list[float]]:
        """For each RGB image and question exp(-mean cross-entropy over an answer's tokens), summed over `answers`."""
        sums = [[0.0] * len(own) for own in questions]
        for answer in answers:
            labels = self._tokenizer(answer)["input_ids"]
            for own, logits in zip(sums, self._logits(images, questions, labels[:-1]), strict=True):
                log_probabilities = logits.log_softmax(-1)[:, range(len(labels)), labels]
                own[:] = [a + b for a, b in zip(own, log_probabilities.mean(-1).exp().tolist(), strict=True)]
        return sums

    def text_states(self, images: Sequence[Image.Image], questions: Sequence[str]) -> list[torch.Tensor]:
        """The encoder's last states, [tokens and patches, width] for each pair of an image and a question."""
        import torch

        with torch.inference_mode():
            embeds, mask = self._inputs(self._patches(images), questions)
            states = self._t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        return [own[: int(n)] for own, n in zip(states, mask.sum(1), strict=True)]

    def _logits(
        self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]], said: Sequence[int]
    ) -> list[torch.Tensor]:
        """For each image [questions, 1 + len(said), vocabulary] in float32, after the start token and after `said`."""
        import torch

        counts = [len(own) for own in questions]
        asked = [i for i, n in enumerate(counts) if n]
        texts = [question for own in questions for question in own]
        owners = [place for place, i in enumerate(asked) for _ in questions[i]]
        rows = []
        with torch.inference_mode():
            patches: Any = self._patches([images[i] for i in asked]) if asked else None
            start = self._t5.config.pad_token_id  # T5 starts to speak from padding
            for i in range(0, len(texts), self.batch_size):
                batch = slice(i, i + self.batch_size)
                embeds, mask = self._inputs(patches[owners[batch]], texts[batch])
                decoded = torch.tensor([[start, *said]], device=embeds.device).expand(len(embeds), -1)
                logits = self._t5(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=decoded).logits
                rows.append(logits.float().cpu())
        nothing = torch.empty(0, 1 + len(said), self._t5.config.vocab_size)
        return list(torch.split(torch.cat([nothing, *rows]), counts))

    def _inputs(self, patches: Any, questions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings [B, longest, width] of words, patches and words, and the mask of what is no padding."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = []
        for own, question in zip(patches, questions, strict=True):
            before, after = (self._embed(text) for text in (BEFORE_IMAGE, AFTER_IMAGE.replace("{}", question)))
            rows.append(torch.cat([before, own, after]))
        lengths = torch.tensor([len(row) for row in rows], device=self._t5.device)
        mask = torch.arange(int(lengths.max()), device=self._t5.device) < lengths[:, None]
        return pad_sequence(rows, batch_first=True), mask.long()

    def _embed(self, text: str) -> torch.Tensor:
        import torch

        ids = self._tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        embeds: torch.Tensor = self._t5.shared(torch.tensor(ids, device=self._t5.device))
        return embeds

    def _patches(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """[B, patches, width of T5]."""
        square = [_padded_square(image.convert("RGB")) for image in images]
        pixels = self._image_processor(images=square, return_tensors="pt")["pixel_values"]
        states = self._vision(pixel_values=pixels.to(self._t5.device, self._t5.dtype)).last_hidden_state
        projected: torch.Tensor = self._projector(states[:, 1:])
        return projected

    @cached_property
    def _vision_folder(self) -> Path:
        return model_folder("clip_flant5", self.vision_tower, None, "vqascore.vqa_options.vision_tower")

    @cached_property
    def _image_processor(self) -> Any:
        return load_image_processor("clip_flant5", self._vision_folder)

    @cached_property
    def _vision(self) -> Any:
        """CLIP up to the layer that is read, the last but one; what the others would do is not needed."""
        from benchmarks.metrics.clip_flant5_weights import read_settings

        vision = load_model("clip_flant5", "CLIPVisionModel", self._vision_folder, self.dtype, self.device)
        settings = read_settings(self.folder)
        encoder = next(module for name, module in vision.named_modules() if name.endswith("encoder"))
        encoder.layers = encoder.layers[: len(encoder.layers) + 1 + settings.get("mm_vision_select_layer", -2)]
        return vision

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise UserError(f"clip_flant5: {self.folder}: no T5 tokenizer: {' '.join(str(error).split())}") from error

    @property
    def _t5(self) -> Any:
        return self._weights[0]

    @property
    def _projector(self) -> Any:
        return self._weights[1]

    @cached_property
    def _weights(self) -> tuple[Any, Any]:
        from benchmarks.metrics.clip_flant5_weights import load_weights

        return load_weights(self.folder, self._vision.config.hidden_size, self.dtype, self.device)


def _padded_square(image: Image.Image) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side), PAD_RGB)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
