"""Which base models there are, and how a name or a folder becomes a pipeline with its prompt encoder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_model.family import BUNDLED

if TYPE_CHECKING:
    from llm4gen_model.conditioning import PromptEncoder

EXPORT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A base model: where its components are (a hub id and revision, or None for the bundled ones) and its size.

    `resolution` in pixels.
    """

    name: str
    hub_id: str | None
    revision: str | None
    resolution: int


MODEL_SPECS = {
    spec.name: spec
    for spec in (
        ModelSpec("mini", None, None, 64),
        ModelSpec("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", None, 512),
        ModelSpec("sdxl", "stabilityai/stable-diffusion-xl-base-1.0", None, 1024),
    )
}

# SD's betas, rescaled to end in pure noise: pictures whose background fills most of the frame need it
# (arXiv 2305.08891), and it asks for v-prediction and trailing time steps.
MINI_SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "steps_offset": 1,
    "set_alpha_to_one": True,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to draw: `pipeline` denoises and decodes, `prompt_encoder` makes what it is conditioned on.

    `identity` holds everything that can change its pictures, as JSON values.
    """

    name: str
    pipeline: DiffusionPipeline
    prompt_encoder: PromptEncoder
    identity: dict[str, Any]


def load_model(name_or_path: str, *, dtype: str = "float32", device: str = "cpu") -> Model:
    """Load a base model (`mini`, `sd15`, `sdxl`, a hub id, a diffusers folder) or one that `train` exported.

    `cam-mini` is the bundled model with a CAM; an exported folder holds `llm4gen.json` and names its base.
    Raises UserError if a file is missing, damaged, or made for another base.
    """
    from llm4gen_model.checkpoints import load_cam
    from llm4gen_model.conditioning import PromptEncoder
    from llm4gen_model.llm import load_llm

    folder = BUNDLED / name_or_path if (BUNDLED / name_or_path / "llm4gen.json").is_file() else Path(name_or_path)
    if not (folder / "llm4gen.json").is_file():
        pipeline = load_pipeline(name_or_path, dtype=dtype, device=device)
        name = Path(name_or_path).name if Path(name_or_path).is_dir() else name_or_path
        return Model(name, pipeline, PromptEncoder.from_pipeline(pipeline), base_identity(pipeline))

    about = read_export(folder)
    name = folder.absolute().parent.name if folder.name == "model" else folder.name  # RUN/model goes by its run
    unet = load_unet(folder / "unet", getattr(torch, dtype)) if (folder / "unet").is_dir() else None
    pipeline = load_pipeline(about["base"], unet=unet, dtype=dtype, device=device)
    identity = base_identity(pipeline)
    if about["llm"] is None:
        return Model(name, pipeline, PromptEncoder.from_pipeline(pipeline), identity)
    cam = load_cam(folder / "cam").to(device)
    if dtype != "float32":
        cam.to(getattr(torch, dtype))
    llm = load_llm(
        about["llm"]["name"], max_tokens=about["llm"]["max_tokens"], dtype=about["llm"]["dtype"], device=device
    )
    require_same_llm(llm.identity(), about["llm"], folder)
    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=cam)
    return Model(name, pipeline, encoder, {**identity, "cam": module_sha256(cam), "llm": llm.identity()})


def load_pipeline(
    base: str, *, unet: UNet2DConditionModel | None = None, dtype: str = "float32", device: str = "cpu"
) -> DiffusionPipeline:
    """Load the text-to-image pipeline of a base model, with `unet` in place of its own if given.

    Raises UserError for an unknown name, a damaged file or a UNet of another shape.
    """
    spec = MODEL_SPECS.get(base)
    location = spec.hub_id if spec is not None else base
    if location is None:
        pipeline = _mini_pipeline(unet, getattr(torch, dtype))
    else:
        # As the release draws: a flagged picture would come out black and be scored so.
        replaced: dict[str, Any] = {"safety_checker": None} if spec is not None and spec.name == "sd15" else {}
        if unet is not None:
            replaced["unet"] = unet
        with loading(base, f"one of {', '.join(MODEL_SPECS)}, a folder, or a hub id that can be reached"):
            pipeline = DiffusionPipeline.from_pretrained(
                location,
                revision=spec.revision if spec is not None else None,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                **replaced,
            )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _mini_pipeline(unet: UNet2DConditionModel | None, dtype: torch.dtype) -> StableDiffusionPipeline:
    with loading(str(BUNDLED), "the bundled mini family"):
        return StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(BUNDLED / "vae-mini", dtype=dtype),
            text_encoder=CLIPTextModel.from_pretrained(BUNDLED / "clip-mini", dtype=dtype),
            tokenizer=CLIPTokenizer.from_pretrained(BUNDLED / "clip-mini"),
            unet=unet if unet is not None else load_unet(BUNDLED / "unet-mini", dtype),
            scheduler=DDIMScheduler(**MINI_SCHEDULER),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def load_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """Load a UNet from a folder. Raises UserError if it is missing, damaged or of another shape than its config."""
    with loading(str(folder), "config.json and safetensors weights that fit it"):
        return UNet2DConditionModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, low_cpu_mem_usage=False)


def build_unet(config_file: Path, seed: int) -> UNet2DConditionModel:
    """A UNet with fresh weights from a config file. Raises UserError if the file does not describe one."""
    config = read_json(config_file)
    torch.manual_seed(seed)
    with loading(str(config_file), "the configuration of a UNet2DConditionModel"):
        return UNet2DConditionModel.from_config(config)


@contextlib.contextmanager
def loading(what: str, expected: str) -> Iterator[None]:
    """Turn what a loader raises on missing, damaged or misfitting files into one line; no bars for small files."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what}: cannot be loaded, expected {expected}: {reason[:300]}") from error


def read_export(folder: Path) -> dict[str, Any]:
    """Read `llm4gen.json` of an exported model. Raises UserError if a key is missing or its format is newer."""
    path = folder / "llm4gen.json"
    about = read_json(path)
    missing = [key for key in ("format", "base", "train", "llm") if not isinstance(about, dict) or key not in about]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; expected what `llm4gen-model train` exports")
    if about["format"] != EXPORT_FORMAT:
        raise UserError(f"{path}: format {about['format']!r}, this version reads format {EXPORT_FORMAT}")
    return dict(about)


def require_same_llm(found: dict[str, Any], expected: dict[str, Any], where: Path) -> None:
    """Raise UserError if features of the language model `found` are not what `expected` describes."""
    differing = [key for key in expected if found.get(key) != expected[key]]
    if differing:
        changes = "; ".join(f"{key} is {found.get(key)!r}, was {expected[key]!r}" for key in differing)
        raise UserError(f"{where}: made with another language model ({changes})")


def base_identity(pipeline: DiffusionPipeline) -> dict[str, Any]:
    """Hashes of the weights of a pipeline's networks, and its scheduler's configuration."""
    identity: dict[str, Any] = {"pipeline": type(pipeline).__name__}
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        module = getattr(pipeline, name, None)
        if module is not None:
            identity[name] = module_sha256(module)
    config = {key: value for key, value in pipeline.scheduler.config.items() if not key.startswith("_")}
    identity["scheduler"] = json.loads(json.dumps({"class": type(pipeline.scheduler).__name__, **config}, default=str))
    return identity


def module_sha256(module: torch.nn.Module) -> str:
    """Sixteen hex digits over names, shapes, types and values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
