"""LAION's improved aesthetic predictor: how pleasing people find pictures like this, whatever the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from benchmarks.encoders import EncoderSpec, Features, encode, load_encoder
from benchmarks.metrics.clip_encoder import ClipEncoder, normalised
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import sha256_file

if TYPE_CHECKING:
    import numpy as np

HEAD = "sac+logos+ava1-l14-linearMSE.pth"
HEAD_URL = f"https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/{HEAD}"
HEAD_SHA256 = "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"
# Places of the linear layers; between them stands dropout only. The head with ReLUs has others, and does not fold.
LAYERS = (0, 2, 4, 6, 7)


class Aesthetic:
    """The head's value, about 1 to 10, for the L2-normalised image embedding of OpenAI's ViT-L/14.

    `head` is the file of the linear head ("sac+logos+ava1-l14-linearMSE.pth"); its five layers, which have nothing
    between them, are folded into one. Embeddings are shared with CLIPScore by the same model.

    Raises UserError if head or model cannot be used.
    """

    headline = "aesthetic"
    unit = "1 to 10"
    digits = 3

    def __init__(
        self,
        head: Path | str | None,
        model: str = "openai/clip-vit-large-patch14",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.head = _head_file(head)
        self.uses = (EncoderSpec("clip", model, revision, dtype, device),)
        self.encoder: ClipEncoder = load_encoder(self.uses[0])

    def identity(self) -> dict[str, Any]:
        """Head and model."""
        return {
            "metric": "aesthetic",
            "version": 1,
            **self.encoder.identity(),
            "head": self.head.name,
            "head_sha256": self._head_sha256,
            "normalised": True,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """The prompt plays no part."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score a picture, of the kind `aesthetic`."""
        seen = normalised((features or encode(self.uses, images))[self.uses[0]])
        weight, bias = self._folded
        if seen.shape[1] != len(weight):
            given = f"{self.encoder.model} gives {seen.shape[1]}"
            raise UserError(f"{self.head}: a head for embeddings of {len(weight)} numbers; {given}")
        reason = f"{self.head.name} on the image embedding of {self.encoder.model}; the prompt plays no part"
        return [[Score(self.headline, float(value), reason)] for value in seen @ weight + bias]

    @cached_property
    def _head_sha256(self) -> str:
        return sha256_file(self.head)

    @cached_property
    def _folded(self) -> tuple[np.ndarray, float]:
        from llm4gen_model.checkpoints import read_tensors

        return fold(read_tensors(self.head), str(self.head))


def fold(tensors: Mapping[str, Any], origin: str) -> tuple[np.ndarray, float]:
    """The head's layers as one: weight [D] in float64, and bias.

    `tensors` are those of the layered head, or `weight` and `bias` of the single layer of the first version. Raises
    UserError, led by `origin`, for any other.
    """
    import numpy as np

    names = [f"layers.{place}." for place in LAYERS] if len(tensors) > 2 else [""]
    expected = {f"{name}{part}" for name in names for part in ("weight", "bias")}
    if set(tensors) != expected:
        raise UserError(
            f"{origin}: holds {', '.join(map(str, sorted(tensors)[:4]))}, ...: expected layers "
            f"{', '.join(map(str, LAYERS))}, those of the head without activations ({HEAD})"
        )
    n_inputs = tensors[f"{names[0]}weight"].shape[-1]
    weight, bias = np.eye(n_inputs), np.zeros(n_inputs)
    for name in names:
        layer = [tensors[f"{name}{part}"].double().numpy() for part in ("weight", "bias")]
        if layer[0].ndim != 2 or layer[0].shape[1] != len(weight) or layer[1].shape != layer[0].shape[:1]:
            raise UserError(f"{origin}: {name}weight of shape {list(layer[0].shape)} does not follow the layer before")
        weight, bias = layer[0] @ weight, layer[0] @ bias + layer[1]
    if weight.shape[0] != 1 or not np.isfinite(weight).all() or not np.isfinite(bias).all():
        raise UserError(f"{origin}: expected one finite number at the end")
    return weight[0], float(bias[0])


def _head_file(head: Path | str | None) -> Path:
    path = None if head is None else Path(head)
    if path is None or not path.is_file():
        raise UserError(
            f"aesthetic: the head {path or HEAD} is missing: fetch {HEAD_URL} (sha256 {HEAD_SHA256}) and give "
            "--set aesthetic.head=FILE"
        )
    return path
