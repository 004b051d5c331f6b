"""The training loop: a batch, a loss, a step, and now and then a checkpoint and a look at what it draws."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UserError
from llm4gen_model.models import Model
from llm4gen_model.training.checkpoint import Checkpoint, CheckpointWriter, find_latest, load_checkpoint, whole
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.entity_loss import captured_maps, entity_losses
from llm4gen_model.training.interrupts import interrupts_deferred
from llm4gen_model.training.loader import Batch, Features, load_batches
from llm4gen_model.training.loss import added_conditions, diffusion_loss, noise_scheduler
from llm4gen_model.training.metrics import cut_metrics, mean_metrics, progress_words
from llm4gen_model.training.optimizer import build_optimizer, build_schedule
from llm4gen_model.training.tracking import log_metrics
from llm4gen_model.training.trained import Denoiser, trained_parameters


def batch_loss(
    config: TrainConfig, model: Model, denoiser: nn.Module, scheduler: DDPMScheduler, batch: Batch
) -> torch.Tensor:
    """The loss of a batch: a mean over its samples, so that the mean over equal pieces is that of the whole."""
    assert batch.text_embeds is not None
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    if config.channels_last:
        noisy = noisy.contiguous(memory_format=torch.channels_last)
    predicted = denoiser(
        noisy,
        batch.timesteps,
        batch.text_embeds,
        batch.llm_embeds,
        batch.llm_mask,
        added_conditions(model.pipeline, batch.pooled_text_embeds, batch.latents, batch.time_ids),
    )
    losses = diffusion_loss(
        scheduler, predicted, batch.latents, batch.noise, batch.timesteps, snr_gamma=config.snr_gamma
    )
    return losses.mean()


def take_step(
    config: TrainConfig,
    accelerator: Accelerator,
    model: Model,
    denoiser: nn.Module,
    scheduler: DDPMScheduler,
    state: Checkpoint,
    batches: Iterator[Batch],
    step: int,
    *,
    stop: bool = False,
    maps: dict[str, torch.Tensor] | None = None,
) -> tuple[float, float, float | None, bool]:
    """Step number `step`, from 1: loss, gradient norm and entity loss in all processes, whether one wants to `stop`.

    The entity loss, of batches with entities, needs the `maps` of `captured_maps`; it is None without, and not in the
    loss. Raises UserError if loss or gradient is not finite, before the weights change.
    """
    n_pieces = config.gradient_accumulation_steps
    weights = list(state.parameters.values())
    guided = maps if config.entity_loss.weight else None
    total, guiding = torch.zeros(2, device=accelerator.device)
    for number, batch in enumerate(islice(batches, n_pieces), start=1):
        with nullcontext() if number == n_pieces else accelerator.no_sync(denoiser):
            with accelerator.autocast():
                loss = batch_loss(config, model, denoiser, scheduler, batch)
            objective = loss
            if guided is not None and batch.entities is not None:
                apart = entity_losses(config.entity_loss, guided, batch.entities, batch.timesteps).mean()
                objective = loss + config.entity_loss.weight * apart
                guiding += apart.detach() / n_pieces
            accelerator.backward(objective / n_pieces)
            if guided is not None:  # gradient checkpointing has filled it again
                guided.clear()
        total += loss.detach() / n_pieces
    norm = accelerator.clip_grad_norm_(weights, config.max_grad_norm)
    # one transfer a step; what decides is the same in every process
    told = torch.stack([total, norm.to(total), guiding, total.new_tensor(float(stop))])
    mean_loss, grad_norm, entity_loss, stopped = accelerator.reduce(told, "mean").tolist()
    # with fp16 the scaler skips a step whose gradient overflows
    for name, value in {"loss": mean_loss, **({"gradient": grad_norm} if state.scaler is None else {})}.items():
        if not math.isfinite(value):
            raise UserError(
                f"{config.out}: the {name} of step {step} is not finite; the last checkpoint is kept, "
                "start again from it with a smaller --set learning_rate in another --out"
            )
    state.optimizer.step()
    state.schedule.step()
    state.optimizer.zero_grad()
    if step > config.ema_start_step and (step - config.ema_start_step - 1) % config.ema_interval == 0:
        state.ema.step(weights)
    return mean_loss, grad_norm, None if guided is None else entity_loss, bool(stopped)


def train_loop(
    config: TrainConfig,
    accelerator: Accelerator,
    model: Model,
    denoiser: Denoiser,
    features: Features,
    on_validation: Callable[[int], float | None],
) -> dict[str, torch.Tensor]:
    """Train to `max_train_steps` from the last checkpoint, if there is one; return the averaged weights.

    Equal runs end in equal bits on a CPU, however often they were interrupted. `on_validation(step)` is called in
    the main process with the averaged weights in place, and gives the validation loss if it measures one. Raises
    UserError if the loss or its gradient is not finite, and if a checkpoint cannot be written.
    """
    wrapped, state = prepare(config, accelerator, denoiser)
    begin = resume(config, accelerator, state)
    scheduler = noise_scheduler(model.pipeline)
    log = config.out / "metrics.jsonl"
    first = accelerator.is_main_process
    if first:
        cut_metrics(log, begin)
    n_pieces = config.gradient_accumulation_steps
    parts = range(accelerator.process_index * n_pieces, (accelerator.process_index + 1) * n_pieces)
    steps = range(begin, config.max_train_steps)
    batches = load_batches(config, model, features, steps, parts, accelerator.num_processes * n_pieces)
    signals: list[int] = []
    bar = tqdm(
        total=config.max_train_steps,
        initial=min(begin, config.max_train_steps),
        desc="train",
        unit=" steps",
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        disable=not first,
    )
    writer = CheckpointWriter(config.out / "checkpoints", config.checkpoints_total_limit, config.checkpoints_keep_best)
    with bar, writer, captured_maps(config.entity_loss, denoiser.unet) as maps:
        for done in range(begin + 1, config.max_train_steps + 1):
            last = done == config.max_train_steps
            started = time.perf_counter()
            writer.check()
            with interrupts_deferred(signals):
                learning_rate = state.schedule.get_last_lr()[0]
                loss, grad_norm, entity_loss, stopped = take_step(
                    config, accelerator, model, wrapped, scheduler, state, batches, done, stop=bool(signals), maps=maps
                )
                told = (loss, grad_norm, time.perf_counter() - started)
                state.pending.append(told if entity_loss is None else (*told, entity_loss))
                bar.update()
                if done % config.logging_steps == 0 or last:
                    line = mean_metrics(
                        state.pending, done, learning_rate, config.train_batch_size, len(features.pairs)
                    )
                    if first:
                        log_metrics(accelerator, log, line)
                    bar.set_postfix(progress_words(line), refresh=False)
                    state.pending.clear()
                if accelerator.num_processes == 1:  # there is nobody to agree with
                    stopped = bool(signals)
            val_loss = None
            validates = done % config.validation_steps == 0 and not last and not stopped
            # a sharded UNet cannot draw in one process alone
            if validates and first and not accelerator.is_fsdp2:
                with ema_weights(state):
                    val_loss = on_validation(done)
            due = done % config.checkpointing_steps == 0 or (validates and config.checkpoints_keep_best > 0)
            if due or last or stopped:
                with interrupts_deferred(signals):
                    writer.save(state, done, val_loss, here=first)
            if stopped:
                writer.wait()
                accelerator.wait_for_everyone()
                signal.raise_signal(signals[0] if signals else signal.SIGTERM)
    if signals:  # too late for a step: what is saved is the end
        signal.raise_signal(signals[0])
    with ema_weights(state):
        return {name: whole(parameter) for name, parameter in state.parameters.items()}


def prepare(config: TrainConfig, accelerator: Accelerator, denoiser: Denoiser) -> tuple[nn.Module, Checkpoint]:
    """The module as accelerate runs it, and the state of a run that has not begun."""
    optimizer = build_optimizer(config, trained_parameters(denoiser))
    wrapped, prepared = accelerator.prepare(denoiser, optimizer)
    parameters = trained_parameters(denoiser)  # FSDP has put shards in their place
    ema = EMAModel(
        parameters.values(),
        decay=config.ema_decay**config.ema_interval,
        use_ema_warmup=True,
        power=0.75,
        foreach=accelerator.device.type == "cuda",  # other rounding: a CPU's weights stay what they were
    )
    schedule = build_schedule(config, prepared.optimizer)
    return wrapped, Checkpoint(parameters, prepared, schedule, ema, accelerator.scaler, to_plain(config), [])


def resume(config: TrainConfig, accelerator: Accelerator, state: Checkpoint) -> int:
    """Load the last checkpoint of the run, or the one it is to begin from, and return its step; 0 without any."""
    path = None
    if accelerator.is_main_process:
        folder = config.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        path = find_latest(folder)
        if path is None and config.resume != "auto":
            path = Path(config.resume)
    path = broadcast_object_list([path])[0]
    return 0 if path is None else load_checkpoint(path, state)


@contextmanager
def ema_weights(state: Checkpoint) -> Iterator[None]:
    """Within the block the parameters hold their moving averages, once there are any."""
    if state.ema.optimization_step == 0:
        yield
        return
    weights = list(state.parameters.values())
    state.ema.store(weights)
    state.ema.copy_to(weights)
    try:
        yield
    finally:
        state.ema.restore(weights)
