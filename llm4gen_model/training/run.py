"""From a data set to a trained, exported model: features, loop, samples, report, manifest last."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from llm4gen_data.config import to_plain
from llm4gen_data.runs import finish, is_complete, open_run, read_json, sha256_file
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.llm import LanguageModel, load_llm
from llm4gen_model.models import (
    MODEL_SPECS,
    Model,
    base_identity,
    build_unet,
    load_model,
    load_pipeline,
    module_sha256,
)
from llm4gen_model.training.cache import cache_latents, cache_text, text_key
from llm4gen_model.training.config import TrainConfig, fingerprint_of
from llm4gen_model.training.data import Pairs, open_pairs
from llm4gen_model.training.export import export_model
from llm4gen_model.training.loop import Features, ema_weights, train_loop, trainable_modules
from llm4gen_model.training.report import write_report
from llm4gen_model.training.samples import sample_grid, sample_prompts

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pyarrow")


def train(config: TrainConfig) -> None:
    """Train, export the EMA of the weights to `OUT/model`, write `report.html`; go on where an earlier start stopped.

    Raises UserError for data, cache, base or checkpoint that do not fit.
    """
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    model = build_model(config)
    pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
    fingerprint = {
        "config": fingerprint_of(config, to_plain(config)),
        "data": pairs.content_sha256(),
        "start": model.identity,
    }
    with open_run(config.out, "train", to_plain(config), fingerprint):
        manifest = config.out / "manifest.json"
        if is_complete(config.out) and read_json(manifest)["n_steps"] >= config.max_train_steps:
            click.echo(f"{config.out}: complete; model: {config.out / 'model'}   report: {config.out / 'report.html'}")
            return
        manifest.unlink(missing_ok=True)
        _announce(config, model, pairs)
        features = build_features(config.cache or config.out / "cache", config, model, pairs)
        prompts = sample_prompts(config, features.pairs)

        def draw_samples(step: int) -> None:
            sample_grid(config, model, prompts, config.out / "samples" / f"{step:08d}.png")

        ema = train_loop(config, model, features, draw_samples)
        parameters = list(trainable_modules(model, config.train).parameters())
        with ema_weights(ema, parameters):
            export_model(config, model, config.out / "model", len(features.pairs))
            draw_samples(config.max_train_steps)
        write_report(config, config.out)
        content = {
            "n_steps": config.max_train_steps,
            "n_pairs": len(features.pairs),
            "n_left_out": features.pairs.n_left_out,
            "outputs": {
                str(path.relative_to(config.out)): sha256_file(path)
                for path in sorted((config.out / "model").rglob("*.safetensors"))
            },
        }
        finish(config.out, "train", fingerprint, content, PACKAGES)
    click.echo(f"model: {config.out / 'model'}   report: {config.out / 'report.html'}")


def cache(config: TrainConfig) -> None:
    """Fill the cache `config.cache` with what training with this configuration will read; complete a partial one."""
    assert config.cache is not None
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    model = build_model(config)
    pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
    features = build_features(config.cache, config, model, pairs)
    for name, store in (("latents", features.latents), ("text features", features.text)):
        if store is not None:
            click.echo(f"{name}: {len(store.entries):,} entries, {store.n_bytes() / 2**20:.1f} MiB in {store.folder}")


def build_model(config: TrainConfig) -> Model:
    """The base model, with a new CAM where the base has none and one is to be trained."""
    if config.unet_config is not None:
        unet = build_unet(config.unet_config, config.seed)
        pipeline = load_pipeline(config.base, unet=unet, device=config.device)
        return Model(config.base, pipeline, PromptEncoder.from_pipeline(pipeline), base_identity(pipeline))
    model = load_model(config.base, device=config.device)
    if not config.uses_llm or model.prompt_encoder.cam is not None:
        return model
    llm: LanguageModel = load_llm(
        config.llm.name, max_tokens=config.llm.max_tokens, dtype=config.llm.dtype, device=config.device
    )
    torch.manual_seed(config.seed)
    width = model.pipeline.unet.config.cross_attention_dim
    cam = CrossAdapterModule(text_dim=width, llm_dim=llm.width, num_heads=config.cam.num_heads).to(config.device)
    return replace(
        model,
        prompt_encoder=PromptEncoder.from_pipeline(model.pipeline, llm=llm, cam=cam),
        identity={**model.identity, "cam": module_sha256(cam), "llm": llm.identity()},
    )


def build_features(folder: Path, config: TrainConfig, model: Model, pairs: Pairs) -> Features:
    """Latents and text features of all pairs, from `folder` or made now; pairs with an unusable image are left out."""
    latents, unusable = cache_latents(folder / "latents", pairs, model.pipeline.vae, resolution_of(config, model))
    if unusable:
        pairs = pairs.without_images(unusable)
        click.echo(f"left out: {len(unusable):,} images that cannot be decoded ({latents.folder / 'unusable.json'})")
    text = None
    if model.prompt_encoder.llm is not None and config.uses_llm:
        text = cache_text(folder / "text", [*pairs.texts(), ""], model.prompt_encoder.llm)
        assert text_key("") in text
    return Features(pairs, latents, text)


def resolution_of(config: TrainConfig, model: Model) -> int:
    """The side of training images in pixels."""
    if config.resolution is not None:
        return config.resolution
    if config.base in MODEL_SPECS:
        return MODEL_SPECS[config.base].resolution
    return int(model.pipeline.unet.config.sample_size * model.pipeline.vae_scale_factor)


def _announce(config: TrainConfig, model: Model, pairs: Pairs) -> None:
    trained = sum(p.numel() for p in trainable_modules(model, config.train).parameters())
    everything: list[Any] = [m for m in model.pipeline.components.values() if isinstance(m, torch.nn.Module)]
    total = trained + sum(p.numel() for m in everything for p in m.parameters() if not p.requires_grad)
    left_out = f" ({pairs.n_left_out:,} rows left out)" if pairs.n_left_out else ""
    click.echo(
        f"{len(pairs):,} pairs{left_out}; trains {config.train}: {trained:,} of {total:,} parameters; "
        f"batch {config.train_batch_size}, {config.max_train_steps:,} steps, on {config.device}"
    )
