"""What a captioner is: one batched method; and the table of those that exist."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_TIMEOUT_S = 10.0


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

    `max_in_flight` batches are handed over at once (None: what suits the captioner); `prepare_processes` decode
    and shrink images beside the engine (None: by the cores; 0: in threads); `base_url`, `timeout_s` and
    `max_retries` are for endpoints, `max_model_len` (tokens), `max_num_seqs` and `vllm` (any further engine
    argument of vLLM's) for vLLM, `max_batch` for transformers.
    """

    dtype: str = "auto"
    max_in_flight: int | None = None
    prepare_processes: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int = 256
    vllm: dict[str, Any] = field(default_factory=dict)
    max_batch: int = 16
    base_url: str | None = None
    timeout_s: float = 120.0
    max_retries: int = 5


@dataclass(frozen=True, slots=True)
class CaptionerSettings:
    """All that makes a captioner. `chat_format` holds `{instruction}` (None: the model's own chat template)."""

    model: str
    revision: str | None = None
    chat_format: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """One prepared image (upright RGB) and what is asked of it; requests about one image come one after the other."""

    image: Image
    instruction: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model answered; with an `error`, the other fields mean nothing.

    `transient` errors (the server was busy, slow or away) may pass and were retried already; others are the
    request's own.
    """

    text: str = ""
    finish_reason: str = "stop"
    n_output_tokens: int = 0
    error: str | None = None
    transient: bool = False


class EngineDied(Exception):
    """The engine as a whole is gone, but a new one can be started: no request in flight has an answer."""


class Captioner(Protocol):
    """An engine ready to caption; made from CaptionerSettings, heavy work in `__init__`.

    `batch_size` images are handed to one call, `max_in_flight` calls run side by side.
    """

    batch_size: int
    max_in_flight: int

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One completion a request, in order. A request that fails alone is a Completion with an error.

        Raises EngineDied when a new engine may go on, UserError when going on makes no sense (no server, no rights).
        """
        ...

    async def close(self) -> None:
        """Free the engine, also one that died."""
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
    """What identifies a model: the sha256 over the files of a local folder, or hub id and commit.

    A branch, a tag or no revision becomes the commit it stands for now; without the hub, the commit in the cache.
    """
    import hashlib

    path = Path(model_path(model))
    if not path.is_dir():
        return {"model": model, "revision": hub_commit(model, revision)}
    from llm4gen_data.runs import sha256_file

    files = sorted(file for file in path.iterdir() if file.suffix in MODEL_SUFFIXES)
    digest = hashlib.sha256("\n".join(f"{file.name} {sha256_file(file)}" for file in files).encode()).hexdigest()
    return {"model": path.name, "sha256": digest}


def hub_commit(model: str, revision: str | None) -> str | None:
    """The commit (40 hex digits) of a hub model, from the hub or else its cache; the revision as given if neither."""
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, constants, file_download

    try:
        return HfApi().model_info(model, revision=revision, timeout=HUB_TIMEOUT_S).sha
    except Exception:  # no network, no rights, no such repository: what loads the model will say which
        folder = file_download.repo_folder_name(repo_id=model, repo_type="model")
        ref = Path(constants.HF_HUB_CACHE) / folder / "refs" / (revision or constants.DEFAULT_REVISION)
        return ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
