"""What a captioner is: one batched method; and the table of those that exist."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llm4gen_data.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTIONERS = {
    "vllm": "llm4gen_data.recaption.captioners.vllm_engine:VllmCaptioner",
    "endpoint": "llm4gen_data.recaption.captioners.endpoint:EndpointCaptioner",
    "transformers": "llm4gen_data.recaption.captioners.transformers_model:TransformersCaptioner",
    "dummy": "llm4gen_data.recaption.captioners.dummy:DummyCaptioner",
}

DEFAULT_MODEL = "vlm-mini"

# The files of a model folder that can change what it says; its card cannot.
MODEL_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".model", ".jinja"})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; temperature 0 is greedy, which makes a run repeatable. The seed counts per image."""

    max_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """How a captioner runs: nothing here may change a caption beyond the arithmetic of another machine.

    `max_in_flight` batches are handed over at once (None: what suits the captioner); `base_url` and
    `timeout_s` are for endpoints, `max_model_len` (tokens) and `max_num_seqs` for vLLM, `max_batch` for
    transformers.
    """

    dtype: str = "auto"
    max_in_flight: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 64
    max_batch: int = 16
    base_url: str | None = None
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """One prepared image (upright RGB) and what is asked of it."""

    image: Image
    instruction: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model answered; with an `error`, the other fields mean nothing."""

    text: str = ""
    finish_reason: str = "stop"
    n_output_tokens: int = 0
    error: str | None = None


class Captioner(Protocol):
    """An engine ready to caption; made from (model, revision, sampling, engine), heavy work in `__init__`.

    `batch_size` requests are handed to one call, `max_in_flight` calls run side by side.
    """

    batch_size: int
    max_in_flight: int

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, in order. A request that fails alone is a Completion with an error.

        Raises UserError when the engine as a whole is gone.
        """
        ...

    async def close(self) -> None:
        """Free the engine."""
        ...


def inference_dtype(engine: Engine) -> str:
    """The dtype to load a model in: as stored on a GPU, float32 on a CPU, where half precision is slow or inexact."""
    import torch

    return engine.dtype if engine.dtype != "auto" or torch.cuda.is_available() else "float32"


def model_path(model: str) -> str:
    """The folder of a bundled model, or the name as it is (a local folder or a hub id).

    Raises UserError for a name that is neither bundled, a folder, nor of the form owner/name.
    """
    spec = importlib.util.find_spec("llm4gen_model")
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(spec.submodule_search_locations[0]) / "bundled"
        if (bundled / model / "config.json").is_file():
            return str(bundled / model)
        if "/" not in model and not Path(model).is_dir():
            names = sorted(path.parent.name for path in bundled.glob("*/config.json"))
            raise UserError(
                f"model {model!r} is unknown: expected a bundled model ({', '.join(names)}), a folder, or a hub id"
            )
    return model


def model_fingerprint(model: str, revision: str | None) -> dict[str, str | None]:
    """What identifies a model: the sha256 over the files of a local folder, or hub id and revision."""
    import hashlib

    path = Path(model_path(model))
    if not path.is_dir():
        return {"model": model, "revision": revision}
    from llm4gen_data.runs import sha256_file

    files = sorted(
        file for file in path.iterdir() if file.suffix in {".json", ".safetensors", ".bin", ".model", ".jinja"}
    )
    digest = hashlib.sha256("\n".join(f"{file.name} {sha256_file(file)}" for file in files).encode()).hexdigest()
    return {"model": path.name, "sha256": digest}
