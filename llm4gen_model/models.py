"""Which base models there are, and how a name or a folder becomes a pipeline with its prompt encoder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
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
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.family import BUNDLED
from llm4gen_model.layouts import (
    PIPELINE_FILE,
    find_folder,
    layout_file,
    load_unet,
    loading,
    read_connector,
    read_export,
    read_unet,
)
from llm4gen_model.llm import LANGUAGE_MODELS, LanguageModel, require_same_llm, settings_of
from llm4gen_model.llms.clip import CLIP_FEATURES, ClipFeatures


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A base model: where its components are (a hub id and revision, or None for the bundled ones) and its size.

    `resolution` in pixels.
    """

    name: str
    hub_id: str | None
    revision: str | None
    resolution: int


SD15_HUB_IDS = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd-legacy/stable-diffusion-v1-5")
SAVED_PIPELINES = ("LLM4GenPipeline", "LLM4GenXLPipeline")

MODEL_SPECS = {
    spec.name: spec
    for spec in (
        ModelSpec("mini", None, None, 64),
        ModelSpec("sd15", SD15_HUB_IDS[0], None, 512),
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


def load_model(
    name_or_path: str,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    offload: bool = False,
    base: str | None = None,
    llm: str | None = None,
    llm_dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    llm_quantize: Literal["8bit", "4bit"] | None = None,
) -> Model:
    """Load a model by name, folder or hub id, whatever its layout.

    A base model (`mini`, `sd15`, `sdxl`, a diffusers folder or hub id), a folder that `train` or `convert` wrote
    (`llm4gen.json`; `cam-mini` is bundled), the authors' layout (`projector.pth` and `unet/`), or a saved
    LLM4GenPipeline. `base` and `llm` say where the base model and the language model are, if not where the model
    itself says; `llm_dtype` and `llm_quantize` give the language model another precision than in training, which
    warns. With `offload` only what is at work is on the device. Raises UserError if a file is missing, damaged, or
    made for another base or another language model.
    """
    folder = find_folder(name_or_path) if name_or_path not in MODEL_SPECS else None
    if folder is not None and layout_file(folder) == PIPELINE_FILE:
        class_name = read_json(folder / PIPELINE_FILE).get("_class_name")
        if class_name in SAVED_PIPELINES:
            return _load_saved_pipeline(class_name, name_or_path, dtype, device, offload)
        folder = None
    if folder is None:
        pipeline = load_pipeline(name_or_path, dtype=dtype, device=device, offload=offload)
        name = Path(name_or_path).name if Path(name_or_path).is_dir() else name_or_path
        return Model(name, pipeline, PromptEncoder.from_pipeline(pipeline), base_identity(pipeline))

    about = read_export(folder)
    unet = read_unet(folder, getattr(torch, dtype))
    connector, language_model = None, None
    reads_clip = about["llm"] is not None and about["llm"]["name"] == CLIP_FEATURES
    if about["llm"] is not None and not reads_clip:
        connector, language_model = load_connector(
            folder,
            dtype=dtype,
            device=device,
            offload=offload,
            llm=llm,
            llm_dtype=llm_dtype,
            llm_quantize=llm_quantize,
        )
    pipeline = load_pipeline(base or about["base"], unet=unet, dtype=dtype, device=device, offload=offload)
    if (folder / "lora").is_dir():
        with loading(str(folder / "lora"), "a LoRA in diffusers' layout"):
            pipeline.load_lora_weights(folder / "lora", weight_name="pytorch_lora_weights.safetensors")
    identity = base_identity(pipeline)
    if reads_clip:
        connector = read_connector(folder, getattr(torch, dtype)).to(device)
        language_model = ClipFeatures(PromptEncoder.from_pipeline(pipeline))
        require_same_llm(language_model.identity(), about["llm"], str(folder))
    if connector is not None and language_model is not None:
        identity |= {"cam": connector_sha256(connector), "llm": language_model.identity()}
    chunks = about.get("text_chunks", 1)
    if chunks > 1:
        identity["text_chunks"] = chunks
    encoder = PromptEncoder.from_pipeline(
        pipeline,
        llm=language_model,
        cam=connector,
        long_prompts="chunk" if chunks > 1 else "truncate",
        min_text_chunks=chunks,
    )
    return Model(_name_of(name_or_path), pipeline, encoder, identity)


def load_connector(
    name_or_path: str | Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    offload: bool = False,
    llm: str | None = None,
    llm_dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    llm_quantize: Literal["8bit", "4bit"] | None = None,
) -> tuple[Any, LanguageModel]:
    """The CAM, or another connector, of a model in our layout or the authors', and its language model; no base.

    Arguments are those of `load_model`. Raises UserError for a model without one, and as `load_model` does.
    """
    from llm4gen_model.llm import load_llm

    folder = find_folder(str(name_or_path))
    if folder is None or layout_file(folder) == PIPELINE_FILE or read_export(folder)["llm"] is None:
        raise UserError(f"{name_or_path}: no model with a language model: expected what `llm4gen-model train` exports")
    trained_with = read_export(folder)["llm"]
    settings = replace(settings_of(trained_with), offload=offload and llm_quantize is None)
    if llm_dtype is not None:
        settings = replace(settings, dtype=llm_dtype)
    if llm_quantize is not None:
        settings = replace(settings, quantize=llm_quantize)
    if llm is None and ":" in trained_with["name"] and trained_with["name"] not in LANGUAGE_MODELS:
        # a `module:attribute` is called: never because a file says so
        raise UserError(f"{folder}: language model {trained_with['name']!r} is code: name it yourself with llm=")
    language_model = load_llm(llm or trained_with["name"], settings, device)
    require_same_llm(language_model.identity(), trained_with, str(folder))
    return read_connector(folder, getattr(torch, dtype)).to(device), language_model


def _load_saved_pipeline(class_name: str, name_or_path: str, dtype: str, device: str, offload: bool) -> Model:
    from llm4gen_model import pipeline as pipelines

    pipeline_class = getattr(pipelines, class_name)
    with loading(name_or_path, "a saved LLM4GenPipeline"):
        pipeline = pipeline_class.from_pretrained(name_or_path, dtype=getattr(torch, dtype), use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    _place(pipeline, device, offload)
    encoder = pipeline.prompt_encoder
    identity = base_identity(pipeline)
    if encoder.cam is not None and encoder.llm is not None:
        identity |= {"cam": connector_sha256(encoder.cam), "llm": encoder.llm.identity()}
    return Model(_name_of(name_or_path), pipeline, encoder, identity)


def _name_of(name_or_path: str) -> str:
    if not Path(name_or_path).is_dir():
        return name_or_path
    folder = Path(name_or_path).absolute()
    return folder.parent.name if folder.name == "model" else folder.name  # RUN/model goes by its run


def _place(pipeline: DiffusionPipeline, device: str, offload: bool) -> None:
    if offload and not device.startswith("cpu"):
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)


def load_pipeline(
    base: str,
    *,
    unet: UNet2DConditionModel | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    offload: bool = False,
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
        is_sd15 = location in SD15_HUB_IDS or (Path(location) / "safety_checker").is_dir()
        replaced: dict[str, Any] = {"safety_checker": None} if is_sd15 else {}
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
    _place(pipeline, device, offload)
    return pipeline


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


def build_unet(config_file: Path, seed: int) -> UNet2DConditionModel:
    """A UNet with fresh weights from a config file. Raises UserError if the file does not describe one."""
    config = read_json(config_file)
    torch.manual_seed(seed)
    with loading(str(config_file), "the configuration of a UNet2DConditionModel"):
        return UNet2DConditionModel.from_config(config)


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


def connector_sha256(connector: Any) -> str:
    """Hex digits over a connector's weights; its `mask_padding` and `scale` too where they are not the release's."""
    release = {"mask_padding": False, "scale": 1.0}
    other = {name: connector.config[name] for name, value in release.items() if connector.config[name] != value}
    return module_sha256(connector) + (f" {json.dumps(other)}" if other else "")


def module_sha256(module: torch.nn.Module) -> str:
    """Sixteen hex digits over names, shapes, types and values of a module's state."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
