"""A CLIP model on transformers: pictures and texts as vectors of one space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.pretrained import load_image_processor, model_folder, weights_identity
from llm4gen_data.errors import UserError
from llm4gen_data.registry import require_working_torchvision

if TYPE_CHECKING:
    import numpy as np

# Which metric asks is not known here: encoders are shared.
WEIGHTS_OPTION = "METRIC.model"
PREPROCESSING_KEYS = ("size", "crop_size", "resample", "image_mean", "image_std")
N_TEXTS = 8192  # remembered, the longest unused goes first


class ClipEncoder:
    """`model` is a bundled model, a folder or a hub id of a transformers CLIPModel with safetensors weights.

    `processor` is where tokenizer and preprocessing come from if not from there. The towers are loaded when they are
    first needed, each alone. Raises UserError if there is no such model.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        processor: str | None = None,
    ) -> None:
        self.dtype, self.device = dtype, device
        self.folder = model_folder("clip", model, revision, WEIGHTS_OPTION)
        self.processor_folder = model_folder("clip", processor, None, WEIGHTS_OPTION) if processor else self.folder
        self._named = (model, revision)
        config = read_settings(self.folder / "config.json")
        if config.get("model_type") != "clip":
            raise UserError(f"{model}: model_type is {config.get('model_type')!r}, expected 'clip'")
        self._texts: dict[str, np.ndarray] = {}

    def identity(self) -> dict[str, Any]:
        """The weights by sha256, so that a hub id without a revision is pinned as well."""
        return {
            **self._weights,
            "preprocessing": self._preprocessing,
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        """Projected image embeddings [B, D], not normalised; float16 if the model is, else float32."""
        import torch

        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            embeds = self._vision(pixels.to(self.device, self._vision.dtype)).image_embeds
        kept = embeds if embeds.dtype == torch.float16 else embeds.float()  # NumPy has no bfloat16
        found: np.ndarray = kept.cpu().numpy()
        return found

    def text_embeds(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised text embeddings [B, D] in float32; each distinct text is encoded once.

        A text longer than the context is cut by OpenAI's rule: the end token, from which the embedding is taken, is
        put back at the last position.
        """
        import numpy as np
        import torch

        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            cut = [self.token_ids(text)[0] for text in new]
            width = max(map(len, cut))
            # Padding stands behind the end token, where a causal encoder does not see it; the end token itself is safe
            # for both ways of finding its first position.
            padded = torch.tensor([ids + [ids[-1]] * (width - len(ids)) for ids in cut], device=self.device)
            with torch.inference_mode():
                embeds = self._text(input_ids=padded).text_embeds
            self._texts.update(zip(new, normalised(embeds.float().cpu().numpy()), strict=True))
        found = np.stack([self._texts[text] for text in texts])
        for text in list(self._texts)[: max(0, len(self._texts) - N_TEXTS)]:
            del self._texts[text]
        return found

    def token_ids(self, text: str) -> tuple[list[int], int]:
        """Ids of a text, at most `context`, the last one the end token; and how many there were before the cut."""
        ids: list[int] = self._tokenizer(text, truncation=False, verbose=False)["input_ids"]
        if len(ids) <= self.context:
            return ids, len(ids)
        return [*ids[: self.context - 1], ids[-1]], len(ids)

    @cached_property
    def context(self) -> int:
        """How many tokens the text tower reads, start and end included."""
        context: int = self._config.text_config.max_position_embeddings
        return context

    @cached_property
    def logit_scale(self) -> float:
        """What the model was trained to multiply cosines with."""
        found = self._slice("logit_scale")
        if found is None:
            raise UserError(f"{self.folder}: no logit_scale in the weights")
        return float(found[...].float().exp())

    def _slice(self, name: str) -> Any:
        """A tensor in the files, not yet read; None if it is not there."""
        from safetensors import SafetensorError, safe_open

        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(file, "pt") as weights:
                    if name in weights.keys():  # noqa: SIM118 - no container
                        return weights.get_slice(name)
            except SafetensorError as error:
                raise UserError(f"{file}: not a CLIP model with safetensors weights: {error}") from error
        return None

    @property
    def model(self) -> str:
        """What it is called in a report."""
        return str(self._weights["model"])

    @cached_property
    def _weights(self) -> dict[str, Any]:
        return weights_identity(*self._named, self.folder)

    @cached_property
    def _preprocessing(self) -> dict[str, Any]:
        found = [self.processor_folder / name for name in ("preprocessor_config.json", "processor_config.json")]
        processing = next((read_settings(path) for path in found if path.exists()), {})
        processing = processing.get("image_processor", processing)
        return {key: processing[key] for key in PREPROCESSING_KEYS if key in processing}

    @cached_property
    def _config(self) -> Any:
        from transformers import CLIPConfig

        config = CLIPConfig.from_pretrained(self.folder)
        for tower in (config.text_config, config.vision_config):
            tower.projection_dim = config.projection_dim  # each has one of its own, which CLIPModel does not read
        positions = self._slice("text_model.embeddings.position_embedding.weight")
        if positions is not None:  # Long-CLIP's folders may still say 77
            config.text_config.max_position_embeddings = positions.get_shape()[0]
        return config

    @cached_property
    def _processor(self) -> Any:
        return load_image_processor("clip", self.processor_folder)

    @cached_property
    def _tokenizer(self) -> Any:
        require_working_torchvision()
        from transformers import AutoTokenizer

        return self._loaded(AutoTokenizer.from_pretrained, self.processor_folder)

    @cached_property
    def _vision(self) -> Any:
        from transformers import CLIPVisionModelWithProjection

        return self._tower(CLIPVisionModelWithProjection, self._config.vision_config)

    @cached_property
    def _text(self) -> Any:
        from transformers import CLIPTextModelWithProjection

        text = self._tower(CLIPTextModelWithProjection, self._config.text_config)
        self._refuse_other_end_token()
        return text

    def _tower(self, cls: Any, config: Any) -> Any:
        """One of the two towers. Raises UserError if the folder does not hold all of its weights."""
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        before = logging.get_verbosity()
        logging.set_verbosity_error()  # the other tower's weights are not needed, and that is no news
        try:
            tower, loaded = self._loaded(
                cls.from_pretrained,
                self.folder,
                config=config,
                dtype=getattr(torch, self.dtype),
                use_safetensors=True,
                output_loading_info=True,
            )
        finally:
            logging.set_verbosity(before)
        if loaded["missing_keys"]:  # transformers would go on with random ones
            raise UserError(f"{self.folder}: {len(loaded['missing_keys'])} weights are not in the file")
        try:
            return tower.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"{self.model}: device {self.device!r} cannot be used: {error}") from error

    def _loaded(self, load: Any, folder: Path, **options: Any) -> Any:
        require_working_torchvision()
        from safetensors import SafetensorError

        try:
            return load(folder, **options)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise UserError(f"{folder}: not a CLIP model with safetensors weights: {error}") from error

    def _refuse_other_end_token(self) -> None:
        """The embedding is taken at the end token: a tokenizer with another one would give the same for every text."""
        ids, _ = self.token_ids("a")
        pooled_at = self._config.text_config.eos_token_id
        # transformers: 2 stands for the original models, which pool at the largest id
        if ids[-1] != (max(ids) if pooled_at == 2 else pooled_at):
            raise UserError(
                f"{self.folder}: the tokenizer ends texts with id {ids[-1]}, the model looks for {pooled_at}"
            )


def normalised(embeds: np.ndarray) -> np.ndarray:
    """Rows [B, D] of length 1, in float32."""
    import numpy as np

    wide = embeds.astype(np.float32)
    unit: np.ndarray = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return unit


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON file of settings. Raises UserError if it cannot be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    return values if isinstance(values, dict) else {}
