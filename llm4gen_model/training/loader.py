"""Batches, each a function of configuration, data and step alone, made ahead of the loop in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch

from llm4gen_data.errors import UserError
from llm4gen_model.models import Model
from llm4gen_model.training.buckets import Buckets, bucket_rows, time_ids
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Draw, Pairs, batch_rows, draw
from llm4gen_model.training.entity_loss import entity_tokens
from llm4gen_model.training.entity_pairs import EntitySpans
from llm4gen_model.training.loss import moments_to_latents
from llm4gen_model.training.prefetch import map_ahead
from llm4gen_model.training.sources import CachedLatents, CachedText, OnlineLatents, OnlineText

THREADS = 2
BATCHES_AHEAD = 4
# Steps whose captions are encoded together where there is no cache.
WINDOW_STEPS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees; latents and noise `[B,C,h,w]`, LLM features `[B,N,D]` and their mask `[B,N]`, or None.

    `text_embeds` `[B,T,D]` and SDXL's `pooled_text_embeds` `[B,P]`, what the frozen text encoders say of `captions`,
    are added by `load_batch`.

    `time_ids` `[B,6]` are SDXL's: original height and width, top and left of the cut, target height and width.
    `entities` are those of `entity_loss.entity_tokens`, for the loss on cross-attention maps.
    """

    captions: list[str]
    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    llm_embeds: torch.Tensor | None
    llm_mask: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None
    entities: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    pooled_text_embeds: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """Where the loop finds what the frozen encoders say: `text` is None without a language model.

    `buckets` is None where all images are brought to one size, `entity_spans` where no loss needs them.
    """

    pairs: Pairs
    latents: CachedLatents | OnlineLatents
    text: CachedText | OnlineText | None
    buckets: Buckets | None = None
    entity_spans: EntitySpans | None = None


def load_batches(
    config: TrainConfig, model: Model, features: Features, steps: Sequence[int], parts: Sequence[int], n_parts: int
) -> Iterator[Batch]:
    """These `parts` of the batches of `steps`, step by step, a few of them made ahead.

    Raises UserError, when its turn comes, for a batch that cannot be made.
    """
    wanted = ((step, part) for step in steps for part in parts)
    # encoders that run here want the order in which they are asked to be the same every time
    threads = THREADS if config.cache_mode == "disk" else 1
    yield from map_ahead(
        lambda item: load_batch(config, model, features, *item, n_parts), wanted, threads=threads, ahead=BATCHES_AHEAD
    )


def load_batch(
    config: TrainConfig, model: Model, features: Features, step: int, part: int = 0, n_parts: int = 1
) -> Batch:
    """Part `part` of the batch of step `step`, cut into `n_parts` equal ones, on the device of the configuration.

    A function of the configuration, the data and its other arguments alone. Raises UserError for latents that are
    not finite, and for an image or caption that cannot be had.
    """
    batch = make_batch(config, model, features, step, part, n_parts)
    tensors = {name: value for name, value in _values(batch) if isinstance(value, torch.Tensor)}
    moved = {name: to_device(tensor, config.device) for name, tensor in tensors.items()}
    if "llm_embeds" in moved:  # made float32 only there: half the bytes to move
        moved["llm_embeds"] = moved["llm_embeds"].float()
    text_embeds, pooled = encode_captions(config, model, batch.captions)
    return replace(batch, **moved, text_embeds=text_embeds, pooled_text_embeds=pooled)  # type: ignore[arg-type]


@torch.no_grad()
def encode_captions(
    config: TrainConfig, model: Model, captions: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The text encoders' embeds and pooled embeds of a batch's captions, in the precision of training."""
    dtype = torch.float16 if config.mixed_precision == "fp16" else torch.bfloat16
    # a thread of its own has a precision of its own
    with torch.autocast(torch.device(config.device).type, dtype, enabled=config.mixed_precision != "no"):
        return model.prompt_encoder.text_embeds(captions)


def make_batch(
    config: TrainConfig, model: Model, features: Features, step: int, part: int = 0, n_parts: int = 1
) -> Batch:
    """The batch of `load_batch` in main memory: no text embeds, LLM features in the type they are kept in."""
    rows = part_rows(config, features, step, part, n_parts)
    moments, sizes = features.latents.moments(features.pairs, [row for row, _ in rows])
    shape = (moments[0].shape[0] // 2, *moments[0].shape[1:])
    draws = draw_rows(config, model, features.pairs, rows, shape)
    vae = model.pipeline.vae
    latents = torch.stack(
        [
            moments_to_latents(values, torch.from_numpy(drawn.latent_noise), vae)
            for values, drawn in zip(moments, draws, strict=True)
        ]
    )
    if not torch.isfinite(latents).all():
        culprit = _first_bad(features.pairs, rows, latents)
        raise UserError(f"{_place(features)}: the latents of {culprit} are not finite")
    captions = [drawn.caption for drawn in draws]
    llm_embeds = llm_mask = None
    if features.text is not None and model.prompt_encoder.llm is not None:
        stored = caption_features(config, model, features, step, part, n_parts, captions)
        llm_embeds = padded(stored, model.prompt_encoder.llm.max_tokens)
        if model.prompt_encoder.cam is not None and getattr(model.prompt_encoder.cam.config, "mask_padding", False):
            lengths = torch.tensor([len(tokens) for tokens in stored])
            llm_mask = torch.arange(llm_embeds.shape[1]) < lengths[:, None]
    ids = None
    if model.prompt_encoder.is_sdxl:
        scale = model.pipeline.vae_scale_factor
        target = (shape[1] * scale, shape[2] * scale)
        ids = torch.tensor([time_ids(size, target) for size in sizes], dtype=torch.float32)
    entities = None
    if features.entity_spans is not None:
        spans = features.entity_spans(captions)
        entities = entity_tokens(model.prompt_encoder, captions, spans, config.entity_loss.max_pairs)
    return Batch(
        captions=captions,
        latents=latents,
        noise=torch.stack([torch.from_numpy(drawn.noise) for drawn in draws]),
        timesteps=torch.tensor([drawn.timestep for drawn in draws]),
        llm_embeds=llm_embeds,
        llm_mask=llm_mask,
        time_ids=ids,
        entities=entities,
    )


def part_rows(config: TrainConfig, features: Features, step: int, part: int, n_parts: int) -> list[tuple[int, int]]:
    """The (row, epoch) pairs of one part of a step's batch."""
    if features.buckets is None:
        rows = batch_rows(len(features.pairs), config.train_batch_size, config.seed, step)
    else:
        rows = bucket_rows(features.buckets, config.train_batch_size, config.seed, step)
    size = len(rows) // n_parts
    return rows[part * size : (part + 1) * size]


def draw_rows(
    config: TrainConfig, model: Model, pairs: Pairs, rows: Sequence[tuple[int, int]], shape: Sequence[int]
) -> list[Draw]:
    """What chance decides for these (row, epoch) pairs; noises are `[*shape]`."""
    names = list(config.captions)
    texts = pairs.table.select(["key", *names]).take([row for row, _ in rows]).to_pylist()
    return [
        draw(
            text["key"],
            {name: text[name] for name in names},
            config.captions,
            shape,
            seed=config.seed,
            epoch=epoch,
            n_timesteps=model.pipeline.scheduler.config.num_train_timesteps,
            proportion_empty_prompts=config.proportion_empty_prompts,
            logit_mean=config.logit_mean,
            logit_std=config.logit_std,
        )
        for text, (_, epoch) in zip(texts, rows, strict=True)
    ]


def caption_features(
    config: TrainConfig,
    model: Model,
    features: Features,
    step: int,
    part: int,
    n_parts: int,
    captions: Sequence[str],
) -> list[torch.Tensor]:
    """The language model's features of a batch's captions; without a cache those of a window of steps are made."""
    assert features.text is not None
    if isinstance(features.text, CachedText):
        return features.text.features(captions)
    first = step // WINDOW_STEPS * WINDOW_STEPS
    window = [
        drawn.caption
        for near in range(first, first + WINDOW_STEPS)
        for drawn in draw_rows(
            config, model, features.pairs, part_rows(config, features, near, part, n_parts), shape=(0,)
        )
    ]
    return features.text.features(captions, window)


def padded(features: Sequence[torch.Tensor], n_tokens: int) -> torch.Tensor:
    """`llm.pad_features` in one pass over the memory: `[n_i,width]` -> `[B,n_tokens,width]`, zeros behind each text.

    Raises UserError for a text of more than `n_tokens` tokens.
    """
    longest = max(len(tokens) for tokens in features)
    if longest > n_tokens:
        raise UserError(
            f"features of {longest} tokens cannot be padded to {n_tokens}, the language model's max_tokens"
        )
    batch = torch.empty(len(features), n_tokens, features[0].shape[1], dtype=features[0].dtype)
    for row, tokens in zip(batch, features, strict=True):
        row[: len(tokens)] = tokens
        row[len(tokens) :] = 0
    return batch


def to_device(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on `device`; to a GPU by way of pinned memory, without waiting for it."""
    if not device.startswith("cuda"):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _values(batch: Batch) -> list[tuple[str, object]]:
    return [(field.name, getattr(batch, field.name)) for field in fields(batch)]


def _place(features: Features) -> str:
    return str(features.latents.store.folder) if isinstance(features.latents, CachedLatents) else "VAE"


def _first_bad(pairs: Pairs, rows: Sequence[tuple[int, int]], latents: torch.Tensor) -> str:
    bad = next(i for i, values in enumerate(latents) if not torch.isfinite(values).all())
    row = rows[bad][0]
    return f"pair {pairs.table['key'][row].as_py()!r} (image {pairs.table['sha256'][row].as_py()[:16]})"
