"""From a data set to a trained, exported model: features, loop, samples, report, manifest last."""

from __future__ import annotations

import inspect
import os
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration, broadcast_object_list

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve
from llm4gen_data.runs import finish, is_complete, open_run, read_json, sha256_file
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.connectors import CONNECTORS, connector_from_config
from llm4gen_model.llm import LanguageModel, load_llm
from llm4gen_model.llms.clip import CLIP_FEATURES, ClipFeatures
from llm4gen_model.models import (
    Model,
    base_identity,
    build_unet,
    connector_sha256,
    load_model,
    load_pipeline,
)
from llm4gen_model.text_encoding import count_chunks
from llm4gen_model.training.cache import Part
from llm4gen_model.training.config import CamConfig, TrainConfig, fingerprint_of
from llm4gen_model.training.data import Pairs, open_pairs
from llm4gen_model.training.entity_pairs import STORED, stored_sha256
from llm4gen_model.training.export import export_model
from llm4gen_model.training.features import build_features, describe, run_cache
from llm4gen_model.training.loop import train_loop
from llm4gen_model.training.samples import sample_prompts
from llm4gen_model.training.tracking import finish_trackers, require_trackers, start_trackers
from llm4gen_model.training.trained import Denoiser, build_denoiser, trained_parameters
from llm4gen_model.training.validation import Validator, hold_out, is_held_out

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pyarrow")


def train(config: TrainConfig) -> None:
    """Train, export the EMA of the weights to `OUT/model`, write `report.html`; go on where an earlier start stopped.

    Under `accelerate launch` or torchrun every process calls it, and the first one writes. Raises UserError for
    data, cache, base or checkpoint that do not fit.
    """
    accelerator = build_accelerator(config)
    device = accelerator.device
    config = replace(config, device="cpu" if device.type == "cpu" else str(device))
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // accelerator.num_processes))
    pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
    model = build_model(config)
    read_long_captions(config, model, pairs)
    fingerprint = {
        "config": fingerprint_of(config, to_plain(config)),
        "data": pairs.content_sha256(),
        "start": model.identity,
    }
    if config.entity_loss.weight and config.entity_loss.pairs == STORED:
        fingerprint["entity_spans"] = stored_sha256(pairs)
    first = accelerator.is_main_process
    with open_run(config.out, "train", to_plain(config), fingerprint) if first else nullcontext():
        manifest = config.out / "manifest.json"
        complete = first and is_complete(config.out) and read_json(manifest)["n_steps"] >= config.max_train_steps
        if broadcast_object_list([complete])[0]:
            if first:
                click.echo(
                    f"{config.out}: complete; model: {config.out / 'model'}   report: {config.out / 'report.html'}"
                )
            return
        if first:
            manifest.unlink(missing_ok=True)
        denoiser = build_denoiser(config, model)
        if first:
            _announce(config, accelerator, model, denoiser, pairs)
        with accelerator.main_process_first():
            features = build_features(config.cache or config.out / "cache", config, model, pairs)
        features, held_out = hold_out(features, config.validation_share)
        prompts = sample_prompts(config, (held_out or features).pairs)
        look = Validator(config, accelerator, model, denoiser, held_out, prompts)
        if first:
            start_trackers(accelerator, config)
            look.look_at_base()
        averages = train_loop(config, accelerator, model, denoiser, features, look)
        if not first:
            return
        if accelerator.is_fsdp2:  # what is sharded can neither draw nor be exported by one process
            model = build_model(config)
            read_long_captions(config, model, pairs)
            denoiser = build_denoiser(config, model)
            look = replace(look, model=model, denoiser=denoiser)
        denoiser.load_state_dict(averages, strict=False)
        export_model(config, model, config.out / "model", len(features.pairs))
        look(config.max_train_steps)
        finish_trackers(accelerator)
        content = {
            "n_steps": config.max_train_steps,
            "n_pairs": len(features.pairs),
            "n_held_out": len(held_out.pairs) if held_out is not None else 0,
            "n_left_out": features.pairs.n_left_out,
            "outputs": {
                str(path.relative_to(config.out)): sha256_file(path)
                for path in sorted((config.out / "model").rglob("*.safetensors"))
            },
        }
        finish(config.out, "train", fingerprint, content, PACKAGES)
    click.echo(f"model: {config.out / 'model'}   report: {config.out / 'report.html'}")


def cache(config: TrainConfig, part: Part | None = None, verify: bool = False) -> None:
    """Fill `part` of the cache `config.cache` with what training with this configuration will read: `run_cache`."""
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    run_cache(config, build_model(config), part or Part(), verify)


def dry_run_lines(config: TrainConfig) -> list[str]:
    """What a training with this configuration would have to make first, and the room it takes; writes nothing.

    Where data or base cannot be had here, a line says so.
    """
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    try:
        pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
        model = build_model(config)
    except UserError as error:
        return [f"nothing estimated: {' '.join(str(error).split())}"]
    return describe(config.cache or config.out / "cache", config, model, pairs)


def build_model(config: TrainConfig) -> Model:
    """The base model, with a new CAM where the base has none and one is to be trained."""
    if config.unet_config is not None:
        unet = build_unet(config.unet_config, config.seed)
        pipeline = load_pipeline(config.base, unet=unet, device=config.device)
        return Model(config.base, pipeline, PromptEncoder.from_pipeline(pipeline), base_identity(pipeline))
    model = load_model(config.base, device=config.device)
    if getattr(model.pipeline.unet, "peft_config", None):  # an earlier training's LoRA becomes part of the UNet
        model.pipeline.fuse_lora()
        model.pipeline.unload_lora_weights()
    if not config.uses_llm:
        return replace(model, prompt_encoder=PromptEncoder.from_pipeline(model.pipeline))
    if model.prompt_encoder.cam is not None:
        return model
    llm: LanguageModel
    if config.llm.name == CLIP_FEATURES:
        llm = ClipFeatures(model.prompt_encoder)
    else:
        llm = load_llm(config.llm.name, config.llm, config.device)
    torch.manual_seed(config.seed)
    width = model.pipeline.unet.config.cross_attention_dim
    cam = build_connector(config.cam, text_dim=width, llm_dim=llm.width).to(config.device)
    return replace(
        model,
        prompt_encoder=PromptEncoder.from_pipeline(model.pipeline, llm=llm, cam=cam),
        identity={**model.identity, "cam": connector_sha256(cam), "llm": llm.identity()},
    )


def read_long_captions(config: TrainConfig, model: Model, pairs: Pairs) -> None:
    """Have the text encoder read every caption in as many chunks as the longest one needs, if so configured.

    One number for all batches, so that what is learned depends neither on a batch's neighbours nor on its parts.
    """
    if config.long_prompts == "chunk":
        encoder = model.prompt_encoder
        encoder.long_prompts = "chunk"
        encoder.min_text_chunks = max(count_chunks(tokenizer, pairs.texts()) for tokenizer in encoder.tokenizers)


def build_connector(config: CamConfig, *, text_dim: int, llm_dim: int) -> Any:
    """A CAM, or what is configured in its place, with fresh weights. Raises UserError for options it does not take."""
    shape = {"num_heads": config.num_heads} if config.kind == "cam" else config.options
    known = inspect.signature(resolve("connector", config.kind, CONNECTORS).__init__).parameters
    for name in shape:
        if name not in known:
            raise UserError(
                f"cam.options: {config.kind} takes no {name!r}; expected some of {', '.join(list(known)[3:])}"
            )
    described = {"text_dim": text_dim, "llm_dim": llm_dim, "mask_padding": config.mask_padding, **shape}
    class_name = CONNECTORS[config.kind].partition(":")[2]
    return connector_from_config({"_class_name": class_name, **described}, "cam")


def build_accelerator(config: TrainConfig) -> Accelerator:
    """One process, or one of those that `accelerate launch` or torchrun started, on the device of the configuration.

    DDP and FSDP2 and their options come from the launcher.
    """
    if config.device.startswith("cuda:"):
        torch.cuda.set_device(config.device)
    # the first process may have to fill the cache while the others wait
    patience = InitProcessGroupKwargs(timeout=timedelta(days=1))
    require_trackers(config.report_to)
    return Accelerator(
        cpu=config.device == "cpu",
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[patience],
        log_with=list(config.report_to) or None,
        project_config=ProjectConfiguration(logging_dir=str(config.out / "logs")),
    )


def _announce(config: TrainConfig, accelerator: Accelerator, model: Model, denoiser: Denoiser, pairs: Pairs) -> None:
    trained = sum(p.numel() for p in trained_parameters(denoiser).values())
    everything: list[Any] = [m for m in model.pipeline.components.values() if isinstance(m, torch.nn.Module)]
    total = trained + sum(p.numel() for m in everything for p in m.parameters() if not p.requires_grad)
    left_out = f" ({pairs.n_left_out:,} rows left out)" if pairs.n_left_out else ""
    if config.validation_share:
        n_held_out = sum(is_held_out(sha256, config.validation_share) for sha256 in pairs.table["sha256"].to_pylist())
        left_out += f", {n_held_out:,} of them held out for validation"
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    click.echo(
        f"{len(pairs):,} pairs{left_out}; trains {config.train}: {trained:,} of {total:,} parameters; "
        f"batch {config.train_batch_size}, {config.max_train_steps:,} steps, on {config.device}{processes}"
    )
