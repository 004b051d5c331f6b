"""Validation: the loss on held-out pairs with fixed noise, and samples, of the base and of what is being trained."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.models import Model
from llm4gen_model.training.config import EntityLossConfig, TrainConfig
from llm4gen_model.training.loader import Batch, Features, load_batch
from llm4gen_model.training.loop import batch_loss
from llm4gen_model.training.loss import noise_scheduler
from llm4gen_model.training.metrics import read_metrics, write_metrics
from llm4gen_model.training.report import write_report
from llm4gen_model.training.samples import BASE, begin_samples, describe_samples, draw_samples, sample_grid
from llm4gen_model.training.tracking import log_grid, log_metrics
from llm4gen_model.training.trained import Denoiser

# Small, as it comes on top of a training's memory, and fixed, so that losses of all runs compare.
BATCH_SIZE = 8
SEED = 0


def is_held_out(sha256: str, share: float) -> bool:
    """Whether an image belongs to the held-out share: a function of its content, the same in every run.

    So all rows of one image fall on one side, and whoever adds data holds out the same images as before.
    """
    digest = hashlib.blake2b(f"validation {sha256}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def hold_out(features: Features, share: float) -> tuple[Features, Features | None]:
    """What to train on and what to validate on, None if nothing is held out.

    Raises UserError if one of them would be empty.
    """
    if not share:
        return features, None
    held = np.array([is_held_out(sha256, share) for sha256 in features.pairs.table["sha256"].to_pylist()])
    if held.all() or not held.any():
        raise UserError(
            f"validation_share: {share:g} of these {len(held):,} pairs holds out {'all' if held.all() else 'none'}"
        )
    return _chosen(features, ~held), replace(_chosen(features, held), entity_spans=None)


def _chosen(features: Features, mask: np.ndarray) -> Features:
    pairs = replace(features.pairs, table=features.pairs.table.filter(mask).combine_chunks())
    return replace(features, pairs=pairs, buckets=features.latents.buckets(pairs) if features.buckets else None)


def validation_batches(config: TrainConfig, model: Model, held_out: Features) -> Iterator[Batch]:
    """The same batches whenever, in whatever run: captions and noise by key, time steps spread evenly over all.

    At most `num_validation_pairs`; a last batch that would not be full is left out. No caption is dropped.
    """
    n_pairs = min(len(held_out.pairs), config.num_validation_pairs)
    size = min(BATCH_SIZE, n_pairs)
    n = n_pairs // size
    fixed = replace(
        config,
        seed=SEED,
        train_batch_size=size,
        gradient_accumulation_steps=1,
        proportion_empty_prompts=0.0,
        logit_mean=None,
    )
    for step in range(n):
        batch = load_batch(fixed, model, held_out, step)
        # every batch has some of every noise level
        places = (torch.arange(size) * n + step + 0.5) / (n * size)
        timesteps = (places * model.pipeline.scheduler.config.num_train_timesteps).long()
        yield replace(batch, timesteps=timesteps.to(batch.timesteps))


@torch.no_grad()
def validation_loss(config: TrainConfig, model: Model, denoiser: nn.Module, held_out: Features) -> float:
    """The diffusion loss on held-out pairs, without weights by noise level and without a second loss.

    Raises UserError if it is not finite.
    """
    plain = replace(config, snr_gamma=None, entity_loss=EntityLossConfig())
    scheduler = noise_scheduler(model.pipeline)
    batches = validation_batches(plain, model, held_out)
    losses = [batch_loss(plain, model, denoiser, scheduler, batch) for batch in batches]
    loss: float = torch.stack(losses).mean().item()
    if not math.isfinite(loss):
        raise UserError(
            f"{config.out}: the validation loss is not finite; the last checkpoint is kept, "
            "start again from it with a smaller --set learning_rate in another --out"
        )
    return loss


@dataclass(frozen=True, slots=True)
class Validator:
    """Looks at a model in training, in the main process: loss, samples, report.

    `held_out` is None without a validation loss. The base it is compared with is the UNet the run started from,
    reading CLIP's tokens alone.
    """

    config: TrainConfig
    accelerator: Accelerator
    model: Model
    denoiser: Denoiser
    held_out: Features | None
    prompts: Sequence[str]

    def look_at_base(self) -> None:
        """Measure and draw the base, before its weights change; once in the life of a run."""
        config, log, folder = self.config, self.config.out / "metrics.jsonl", self.config.out / "samples"
        alone = PromptEncoder.from_pipeline(self.model.pipeline)
        about = describe_samples(config, alone, self.prompts)
        if not begin_samples(folder, about):
            with _as_trained(self.accelerator, drawing=True):
                draw_samples(config, self.model, alone, folder / BASE)
        lines = read_metrics(log)
        if self.held_out is not None and not any("val_loss_base" in line for line in lines):
            with _as_trained(self.accelerator):
                loss = validation_loss(config, self.model, Denoiser(self.denoiser.unet, None), self.held_out)
            write_metrics(log, [{"step": 0, "val_loss_base": loss}, *lines])

    def __call__(self, step: int) -> float | None:
        """Draw, measure, log and report, with the weights as they are; the validation loss, if there is one."""
        config, log, folder = self.config, self.config.out / "metrics.jsonl", self.config.out / "samples"
        with _as_trained(self.accelerator, drawing=True):
            draw_samples(config, self.model, self.model.prompt_encoder, folder / f"{step:08d}")
        log_grid(self.accelerator, sample_grid(folder, step), step)
        loss = None
        if self.held_out is not None:
            with _as_trained(self.accelerator):
                loss = validation_loss(config, self.model, self.denoiser, self.held_out)
            # a run killed after its last step looks twice
            if not any(line["step"] == step and "val_loss" in line for line in read_metrics(log)):
                log_metrics(self.accelerator, log, {"step": step, "val_loss": loss})
        write_report(config, config.out)
        return loss


@contextmanager
def _as_trained(accelerator: Accelerator, *, drawing: bool = False) -> Iterator[None]:
    """In the precision of training, but never compiled: other shapes would have the training's graph made anew."""
    # SDXL's VAE overflows in float16
    overflows = drawing and accelerator.mixed_precision == "fp16"
    precision = nullcontext() if overflows else accelerator.autocast()
    with torch.compiler.set_stance("force_eager"), precision:
        yield
