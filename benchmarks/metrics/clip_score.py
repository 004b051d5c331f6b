"""CLIPScore: how near a CLIP model puts a picture and its prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import model_fingerprint, model_path
from llm4gen_data.records import Prompt
from llm4gen_data.registry import require_working_torchvision

WEIGHTS = ("*.json", "*.txt", "*.safetensors")
PREPROCESSING_KEYS = ("size", "crop_size", "resample", "image_mean", "image_std")


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
        self.model, self.revision, self.dtype, self.device = model, revision, dtype, device
        self.folder = _model_folder(model, revision)
        if Path(model).is_dir():
            self.model = self.folder.name  # the weights' hash tells what is in it, wherever it lies
        config = _read(self.folder / "config.json")
        if config.get("model_type") != "clip":
            raise UserError(f"clip_score: {model}: model_type is {config.get('model_type')!r}, expected 'clip'")

    def identity(self) -> dict[str, Any]:
        """The weights by sha256, so that a hub id without a revision is pinned as well."""
        found = [self.folder / name for name in ("preprocessor_config.json", "processor_config.json")]
        processing = next((_read(path) for path in found if path.exists()), {})
        processing = processing.get("image_processor", processing)
        return {
            "metric": "clip_score",
            "version": 1,
            "model": self.model,
            "revision": self.revision,
            "weights": model_fingerprint(str(self.folder), None)["sha256"],
            "scale": "100 x cosine, not clamped",
            "truncation": "OpenAI: end token put back at the last position",
            "preprocessing": {key: processing[key] for key in PREPROCESSING_KEYS if key in processing},
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Any text has an embedding."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, of the kind `cosine`."""
        texts = self._clip.text_embeds([prompt.prompt for prompt in prompts])
        cosines = (self._clip.image_embeds(images) * texts).sum(dim=-1).tolist()
        return [
            [self._score(100 * cosine, self._clip.n_tokens[prompt.prompt])]
            for cosine, prompt in zip(cosines, prompts, strict=True)
        ]

    def _score(self, value: float, n_tokens: int) -> Score:
        context = self._clip.context
        cut = n_tokens > context
        read = f"only {context} of the prompt's {n_tokens} tokens read" if cut else f"all {n_tokens} tokens read"
        return Score(self.headline, value, f"{self.unit} by {self.model}; {read}", truncated=cut)

    @cached_property
    def _clip(self) -> _Clip:
        return _Clip(self.folder, self.dtype, self.device)


class _Clip:
    """The loaded model; each distinct text is encoded once and remembered."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        import torch

        require_working_torchvision()
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            # Pillow's resize, on any machine: that of tensors gives other pixels.
            self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
            model, loaded = CLIPModel.from_pretrained(
                folder, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise UserError(f"clip_score: {folder}: not a CLIP model with safetensors weights: {error}") from error
        if loaded["missing_keys"]:  # transformers would go on with random ones
            raise UserError(f"clip_score: {folder}: {len(loaded['missing_keys'])} weights are not in the file")
        try:
            self.model = model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"clip_score: device {device!r} cannot be used: {error}") from error
        self.context: int = model.config.text_config.max_position_embeddings
        self.n_tokens: dict[str, int] = {}
        self._texts: dict[str, torch.Tensor] = {}
        self._refuse_other_end_token(folder)

    def _refuse_other_end_token(self, folder: Path) -> None:
        """The embedding is taken at the end token: a tokenizer with another one would give the same for every text."""
        ids, _ = self.token_ids("a")
        pooled_at = self.model.config.text_config.eos_token_id
        # transformers: 2 stands for the original models, which pool at the largest id
        if ids[-1] != (max(ids) if pooled_at == 2 else pooled_at):
            raise UserError(
                f"clip_score: {folder}: the tokenizer ends texts with id {ids[-1]}, the model looks for {pooled_at}"
            )

    def token_ids(self, text: str) -> tuple[list[int], int]:
        """Ids of a text, at most `context`, the last one the end token; and how many there were before the cut."""
        ids: list[int] = self.tokenizer(text, truncation=False, verbose=False)["input_ids"]
        if len(ids) <= self.context:
            return ids, len(ids)
        return [*ids[: self.context - 1], ids[-1]], len(ids)

    def text_embeds(self, texts: Sequence[str]) -> Any:
        """Normalised embeddings [B, D] in float32."""
        import torch

        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            cut = []
            for text in new:
                ids, self.n_tokens[text] = self.token_ids(text)
                cut.append(ids)
            width = max(map(len, cut))
            # Padding stands behind the end token, where a causal encoder does not see it; the end token itself is safe
            # for both ways of finding its first position.
            padded = torch.tensor([ids + [ids[-1]] * (width - len(ids)) for ids in cut], device=self.model.device)
            with torch.inference_mode():
                pooled = self.model.text_model(input_ids=padded).pooler_output
                embeds = _normalised(self.model.text_projection(pooled))
            self._texts.update(zip(new, embeds, strict=True))
        return torch.stack([self._texts[text] for text in texts])

    def image_embeds(self, images: Sequence[Image]) -> Any:
        """Normalised embeddings [B, D] in float32."""
        import torch

        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            pooled = self.model.vision_model(pixel_values=pixels.to(self.model.device, self.model.dtype)).pooler_output
            return _normalised(self.model.visual_projection(pooled))


def _normalised(embeds: Any) -> Any:
    embeds = embeds.float()
    return embeds / embeds.norm(dim=-1, keepdim=True)


def _model_folder(model: str, revision: str | None) -> Path:
    """The folder of a bundled or local model, or the hub's snapshot. Raises UserError if there is none."""
    folder = Path(model_path(model))
    if folder.is_dir():
        return folder
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(WEIGHTS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise UserError(
            f"clip_score: model {model!r} cannot be fetched from the hub ({type(error).__name__}); "
            "give a folder or a bundled model, e.g. --set clip_score.model=clip-mini"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"clip_score: {path}: cannot be read as JSON: {error}") from error
    return values if isinstance(values, dict) else {}
