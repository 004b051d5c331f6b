"""The training loop: a batch, a loss, a step, and now and then a checkpoint and a look at what it draws."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_model.llm import pad_features
from llm4gen_model.models import Model
from llm4gen_model.training.cache import FeatureStore, text_key
from llm4gen_model.training.checkpoint import Checkpoint, latest_checkpoint, prune, save_checkpoint
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Pairs, batch_rows, draw
from llm4gen_model.training.loss import diffusion_loss, moments_to_latents, noise_scheduler
from llm4gen_model.training.metrics import append_metrics, cut_metrics, mean_metrics


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees; latents and noise `[B,C,h,w]`, LLM features `[B,N,D]` or None."""

    captions: list[str]
    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    llm_embeds: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Features:
    """Where the loop finds what the frozen encoders said: `text` is None without a language model."""

    pairs: Pairs
    latents: FeatureStore
    text: FeatureStore | None


def trainable_modules(model: Model, train: str) -> nn.ModuleDict:
    """The modules that learn; all others are frozen and in evaluation mode."""
    for module in model.pipeline.components.values():
        if isinstance(module, nn.Module):
            module.requires_grad_(False).eval()
    modules: dict[str, nn.Module] = {}
    if "cam" in train:
        assert model.prompt_encoder.cam is not None
        modules["cam"] = model.prompt_encoder.cam
    if "unet" in train:
        modules["unet"] = model.pipeline.unet
    return nn.ModuleDict(modules).requires_grad_(True).train()


def load_batch(config: TrainConfig, model: Model, features: Features, step: int) -> Batch:
    """The batch of step `step`, a function of the configuration, the data and `step` alone."""
    pairs = features.pairs
    names = list(config.captions)
    draws, latents = [], []
    for row, epoch in batch_rows(len(pairs), config.train_batch_size, config.seed, step):
        moments = features.latents[pairs.table["sha256"][row].as_py()]
        drawn = draw(
            pairs.table["key"][row].as_py(),
            {name: pairs.table[name][row].as_py() for name in names},
            config.captions,
            (moments.shape[1] // 2, *moments.shape[2:]),
            seed=config.seed,
            epoch=epoch,
            n_timesteps=model.pipeline.scheduler.config.num_train_timesteps,
            proportion_empty_prompts=config.proportion_empty_prompts,
            logit_mean=config.logit_mean,
            logit_std=config.logit_std,
        )
        draws.append(drawn)
        latents.append(moments_to_latents(moments[0], torch.from_numpy(drawn.latent_noise), model.pipeline.vae))
    captions = [drawn.caption for drawn in draws]
    llm_embeds = None
    if features.text is not None:
        stored = [features.text[text_key(caption)] for caption in captions]
        llm_embeds = pad_features(stored, config.llm.max_tokens).to(config.device)
    return Batch(
        captions=captions,
        latents=torch.stack(latents).to(config.device),
        noise=torch.stack([torch.from_numpy(drawn.noise) for drawn in draws]).to(config.device),
        timesteps=torch.tensor([drawn.timestep for drawn in draws], device=config.device),
        llm_embeds=llm_embeds,
    )


def batch_loss(config: TrainConfig, model: Model, scheduler: DDPMScheduler, batch: Batch) -> torch.Tensor:
    """The mean loss of a batch."""
    with torch.no_grad():
        context, pooled = model.prompt_encoder.text_embeds(batch.captions)
    if batch.llm_embeds is not None:
        assert model.prompt_encoder.cam is not None
        context = model.prompt_encoder.cam(context, batch.llm_embeds)
    return diffusion_loss(
        model.pipeline,
        scheduler,
        batch.latents,
        batch.noise,
        batch.timesteps,
        context,
        pooled,
        snr_gamma=config.snr_gamma,
    )


def train_loop(
    config: TrainConfig, model: Model, features: Features, on_validation: Callable[[int], None]
) -> EMAModel:
    """Train to `max_train_steps` from the last checkpoint, if there is one; return the EMA of the weights.

    Equal runs end in equal bits on a CPU, however often they were interrupted. Raises UserError if the loss
    is not finite.
    """
    modules = trainable_modules(model, config.train)
    parameters = list(modules.parameters())
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.adam_weight_decay,
        eps=config.adam_epsilon,
        fused=True,
    )
    schedule = get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )
    ema = EMAModel(parameters, decay=config.ema_decay, use_ema_warmup=True, power=0.75)
    state = Checkpoint(modules, optimizer, schedule, ema, pending=[])
    folder = config.out / "checkpoints"
    folder.mkdir(exist_ok=True)
    begin = latest_checkpoint(folder, state)
    scheduler = noise_scheduler(model.pipeline)
    log = config.out / "metrics.jsonl"
    cut_metrics(log, begin)

    bar = tqdm(total=config.max_train_steps, initial=min(begin, config.max_train_steps), desc="train", unit=" steps")
    with bar:
        for step in range(begin, config.max_train_steps):
            done = step + 1
            last = done == config.max_train_steps
            started = time.perf_counter()
            with whole_step() as stopped:
                loss = batch_loss(config, model, scheduler, load_batch(config, model, features, step))
                if not torch.isfinite(loss):
                    raise UserError(
                        f"{config.out}: the loss of step {done} is not finite; the last checkpoint is kept, "
                        "start again from it with a smaller --set learning_rate in another --out"
                    )
                loss.backward()  # type: ignore[no-untyped-call]
                grad_norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
                learning_rate = schedule.get_last_lr()[0]
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                ema.step(parameters)

                state.pending.append((loss.item(), grad_norm.item(), time.perf_counter() - started))
                if done % config.logging_steps == 0 or last:
                    line = mean_metrics(state.pending, done, learning_rate, config.train_batch_size)
                    append_metrics(log, line)
                    state.pending.clear()
                    bar.set_postfix(loss=f"{line['loss']:.4f}")
                bar.update()
                if done % config.checkpointing_steps == 0 or last or stopped:
                    save_checkpoint(folder, state, done)
                    prune(folder, config.checkpoints_total_limit)
            if done % config.validation_steps == 0 and not last:
                with ema_weights(ema, parameters):
                    on_validation(done)
    return ema


@contextmanager
def whole_step() -> Iterator[list[int]]:
    """Within the block Ctrl-C and SIGTERM only add to the list; the first of them takes effect at its end.

    A step is never torn, and what raises in the middle of a C++ call cannot swallow the interrupt.
    """
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield stopped
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda number, _: stopped.append(number))
    try:
        yield stopped
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if stopped:
        signal.raise_signal(stopped[0])


@contextmanager
def ema_weights(ema: EMAModel, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within the block the parameters hold their moving averages."""
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)
