"""From a data set and a model to what the loop reads: a filled cache, or the encoders themselves."""

from __future__ import annotations

import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.models import MODEL_SPECS, Model
from llm4gen_model.training.buckets import Size, bucket_sizes
from llm4gen_model.training.cache import (
    Part,
    cache_latents,
    cache_text,
    latents_identity,
    missing_images,
    missing_texts,
    read_unusable,
    text_identity,
)
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Pairs, open_pairs
from llm4gen_model.training.entity_pairs import STORED, cache_entity_spans, find_entity_spans, load_reader
from llm4gen_model.training.estimates import Estimate, estimate_latents, estimate_text, free_bytes, require_space
from llm4gen_model.training.images import locate_images
from llm4gen_model.training.loader import Features
from llm4gen_model.training.sources import CachedLatents, CachedText, OnlineLatents, OnlineText
from llm4gen_model.training.store import FeatureStore, open_store

# Fewer missing entries than this a process are made sooner than a process starts.
ENTRIES_A_PROCESS = 256


def build_features(folder: Path, config: TrainConfig, model: Model, pairs: Pairs) -> Features:
    """Latents and text features of all pairs, from `folder` (completed now) or made as training goes.

    Pairs with an unusable image are left out. Raises UserError for a cache of another encoder, a damaged one, one
    whose shapes do not fit the model, and for too small a disk.
    """
    if config.cache_mode == "none":
        return _online(config, model, pairs)
    fill(folder, config, model, pairs)
    latents, text, left = open_cache(folder, config, model, pairs)
    if len(left) < len(pairs):
        told = latents.folder / "unusable-*.json"
        click.echo(f"left out: {len(pairs) - len(left):,} pairs whose image cannot be decoded ({told})")
    cached = CachedLatents(latents)
    buckets = cached.buckets(left) if config.aspect_ratio_buckets else None
    spans = find_entity_spans(config.entity_loss, left, folder / "entities")
    return Features(left, cached, None if text is None else CachedText(text), buckets, spans)


def fill(folder: Path, config: TrainConfig, model: Model, pairs: Pairs, part: Part | None = None) -> None:
    """Make what `part` of the cache lacks, with `cache_processes` processes."""
    part = part or Part()
    estimates = estimate(folder, config, model, pairs)
    require_space(folder, estimates)
    n_missing, n = sum(store.n_missing for store in estimates), config.cache_processes
    if not n_missing:
        return
    if n == 1 or n_missing < n * part.count * ENTRIES_A_PROCESS:
        fill_part(folder, config, model, pairs, part)
        return
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        shares = [part.divided(number, n) for number in range(n)]
        list(pool.map(_fill_in_process, [folder] * n, [config] * n, shares))


def estimate(folder: Path, config: TrainConfig, model: Model, pairs: Pairs, *, timed: bool = False) -> list[Estimate]:
    """What each store of the cache lacks and will take; with `timed`, also how long that takes on this device."""
    latents, text, left = open_cache(folder, config, model, pairs)
    sizes = image_sizes(config, model)
    estimates = [estimate_latents(latents, left, model.pipeline.vae, sizes, timed=timed)]
    if text is not None:
        assert model.prompt_encoder.llm is not None
        dtype = getattr(torch, config.cache_dtype)
        texts = [*left.texts(), ""]
        estimates.append(estimate_text(text, texts, model.prompt_encoder.llm, dtype, timed=timed))
    return estimates


def fill_part(folder: Path, config: TrainConfig, model: Model, pairs: Pairs, part: Part) -> None:
    """Make what a part of the cache lacks, in this process."""
    cache_latents(folder / "latents", pairs, model.pipeline.vae, image_sizes(config, model), part)
    if uses_text(config, model):
        assert model.prompt_encoder.llm is not None
        dtype = getattr(torch, config.cache_dtype)
        cache_text(text_folder(folder, config), [*pairs.texts(), ""], model.prompt_encoder.llm, part, dtype)


def _fill_in_process(folder: Path, config: TrainConfig, part: Part) -> None:
    """The work of one process: it loads models and data itself."""
    from llm4gen_model.training.run import build_model

    torch.set_num_threads(1)
    pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
    fill_part(folder, config, build_model(config), pairs, part)


def open_cache(
    folder: Path, config: TrainConfig, model: Model, pairs: Pairs
) -> tuple[FeatureStore, FeatureStore | None, Pairs]:
    """The stores as they are, and the pairs without those whose image is known to be unusable.

    Raises UserError if they were made for another encoder, are damaged, or hold shapes that do not fit the model.
    """
    vae = model.pipeline.vae
    latents = open_store(folder / "latents", latents_identity(vae, image_sizes(config, model)))
    _check_shapes(latents, latents.shapes[:, 0], 2 * vae.config.latent_channels, "channels")
    unusable = read_unusable(latents.folder)
    left = pairs.without_images(set(unusable)) if unusable else pairs
    text = None
    if uses_text(config, model):
        llm = model.prompt_encoder.llm
        assert llm is not None
        text = open_store(text_folder(folder, config), text_identity(llm, getattr(torch, config.cache_dtype)))
        _check_shapes(text, text.shapes[:, 1], llm.width, "numbers a token")
    return latents, text, left


def text_folder(folder: Path, config: TrainConfig) -> Path:
    """Where a cache keeps the features of the configuration's language model, beside those of others."""
    return folder / ("text-" + re.sub(r"[^\w.-]+", "-", config.llm.name))


def _check_shapes(store: FeatureStore, found: np.ndarray, expected: int, what: str) -> None:
    wrong = [int(value) for value in found if value != expected][:1]
    if wrong:
        raise UserError(f"{store.folder}: holds entries of {wrong[0]} {what}, this model's have {expected}")


def _online(config: TrainConfig, model: Model, pairs: Pairs) -> Features:
    images = locate_images(pairs)
    unusable = images.unusable(pairs)
    if unusable:
        pairs = pairs.without_images(unusable)
        click.echo(f"left out: {len(unusable):,} images that cannot be opened")
    latents = OnlineLatents(images, model.pipeline.vae, image_sizes(config, model))
    text = None
    if uses_text(config, model):
        assert model.prompt_encoder.llm is not None
        text = OnlineText(model.prompt_encoder.llm)
    buckets = latents.buckets(pairs) if config.aspect_ratio_buckets else None
    return Features(pairs, latents, text, buckets, find_entity_spans(config.entity_loss, pairs, None))


def uses_text(config: TrainConfig, model: Model) -> bool:
    """Whether training reads a language model's features."""
    return config.uses_llm and model.prompt_encoder.llm is not None


def image_sizes(config: TrainConfig, model: Model) -> list[Size]:
    """The sizes in pixels, height and width, that images are brought to: a square, or the buckets."""
    resolution = resolution_of(config, model)
    if not config.aspect_ratio_buckets:
        return [(resolution, resolution)]
    # what the UNet halves must be whole; and no more than sixteen steps a side
    smallest = model.pipeline.vae_scale_factor * 2 ** (len(model.pipeline.unet.config.block_out_channels) - 1)
    return bucket_sizes(resolution, smallest * max(1, round(resolution / 16 / smallest)))


def resolution_of(config: TrainConfig, model: Model) -> int:
    """The side of training images in pixels."""
    if config.resolution is not None:
        return config.resolution
    if config.base in MODEL_SPECS:
        return MODEL_SPECS[config.base].resolution
    return int(model.pipeline.unet.config.sample_size * model.pipeline.vae_scale_factor)


def describe(folder: Path, config: TrainConfig, model: Model, pairs: Pairs) -> list[str]:
    """For people: the data, what the cache in `folder` lacks, its size and the time it takes here; writes nothing."""
    steps_an_epoch = len(pairs) / config.train_batch_size
    sizes = image_sizes(config, model)
    lines = [
        f"{len(pairs):,} pairs ({pairs.n_left_out:,} rows left out), {steps_an_epoch:,.1f} steps an epoch, "
        f"{config.max_train_steps / steps_an_epoch:,.2f} epochs; images of "
        + ", ".join(f"{height}x{width}" for height, width in sizes[:4])
        + (f" ... {len(sizes)} sizes" if len(sizes) > 4 else "")
    ]
    if config.cache_mode == "none":
        return [*lines, "no cache: VAE and language model encode as training goes"]
    estimates = estimate(folder, config, model, pairs, timed=True)
    n = min(config.cache_processes, os.cpu_count() or 1)
    lines += [f"{store.line(n)} on {config.device}" if store.n_missing else store.line() for store in estimates]
    needed = sum(store.n_bytes for store in estimates)
    return [*lines, f"cache {folder}: {needed / 1e9:.3g} GB more, {free_bytes(folder) / 1e9:.3g} GB free"]


def run_cache(config: TrainConfig, model: Model, part: Part, verify: bool) -> None:
    """Fill `part` of the cache `config.cache`; with `verify`, read all of it and say what is damaged.

    Raises UserError if something is.
    """
    assert config.cache is not None
    pairs = open_pairs(config.data, config.captions, only_kept=config.only_kept)
    fill(config.cache, replace(config, cache_mode="disk"), model, pairs, part)
    latents, text, left = open_cache(config.cache, config, model, pairs)
    lacking = len(missing_images(latents, left, {}))
    stores = [("latents", latents, lacking)]
    if text is not None:
        stores.append(("text features", text, len(missing_texts(text, [*left.texts(), ""]))))
    if config.entity_loss.weight and config.entity_loss.pairs != STORED:
        reader = load_reader(config.entity_loss.pairs)
        entities = cache_entity_spans(config.cache / "entities", left.texts(), reader, part)
        stores.append(("entities", entities, len(missing_texts(entities, left.texts()))))
    for name, store, n_missing in stores:
        more = f", {n_missing:,} still missing" if n_missing else ""
        click.echo(f"{name}: {len(store):,} entries{more}, {store.n_bytes() / 2**20:.1f} MiB in {store.folder}")
    if verify:
        damaged = [line for _, store, _ in stores for line in store.damage()]
        if damaged:
            raise UserError("; ".join(damaged))
        click.echo("verified: every shard holds the values that were written, all of them finite")
