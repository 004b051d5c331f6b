"""What training costs: `python -m tests.performance.train [--train cam] [--device cuda --size sd15]`.

On the mini family, same data, batch and precision, in interleaved rounds of one process: our step (caches, batches
made ahead, text encoder online with them, all that `llm4gen-model train` does), a loop in the manner of diffusers'
train_text_to_image.py (VAE, text encoder and language model online, moving average every step), and the bound:
forward, backward and optimizer on tensors that are already there. `step` is ours with the batch already there too.

With `--device cuda`: images/s and MFU of our step at full width, random weights, tensors in place of caches. FLOPs and
the 989.4 TFLOP/s of an H100 are those of docs/performance.md; 3 x forward, 4 x with gradient checkpointing.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path

import click
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch.nn import functional as F

from llm4gen_model.llm import pad_features
from llm4gen_model.models import Model
from llm4gen_model.training.config import CamConfig, TrainConfig
from llm4gen_model.training.data import Pairs, batch_rows, open_pairs
from llm4gen_model.training.encode import encode_images, fitted
from llm4gen_model.training.features import build_features
from llm4gen_model.training.loader import Batch, load_batch, load_batches
from llm4gen_model.training.loop import prepare, take_step
from llm4gen_model.training.loss import added_conditions, diffusion_loss, noise_scheduler
from llm4gen_model.training.run import build_model
from llm4gen_model.training.trained import build_denoiser, trained_parameters
from pipelines.mini.pairs import PAIRS_SEED, write_pairs
from tests.performance.train_gpu import SIZES, full_width

STEPS_PER_ROUND = 8


def our_steps(
    config: TrainConfig, model: Model, make_batches: Callable[[range], Iterator[Batch]]
) -> Callable[[int], object]:
    """What `train_loop` does a step; batches are made ahead within the round that uses them."""
    accelerator, denoiser = Accelerator(cpu=True), build_denoiser(config, model)
    wrapped, state = prepare(config, accelerator, denoiser)
    scheduler, rounds = noise_scheduler(model.pipeline), count()

    def run(n_steps: int) -> None:
        begin = next(rounds) * n_steps
        batches = make_batches(range(begin, begin + n_steps))
        for step in range(begin, begin + n_steps):
            take_step(config, accelerator, model, wrapped, scheduler, state, batches, step + 1)

    return run


def diffusers_step(config: TrainConfig, model: Model, pairs: Pairs) -> Callable[[], object]:
    """As train_text_to_image.py: every encoder runs in every step, EMA after every step, loss read every step."""
    denoiser = build_denoiser(config, model)
    parameters = list(trained_parameters(denoiser).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
    ema, scheduler, vae = (
        EMAModel(parameters, decay=config.ema_decay),
        noise_scheduler(model.pipeline),
        model.pipeline.vae,
    )
    images = dict(pairs.images(set(pairs.table["sha256"].to_pylist())))
    steps = iter(range(10**6))

    def step() -> object:
        rows = [row for row, _ in batch_rows(len(pairs), config.train_batch_size, 0, next(steps))]
        pixels = [fitted(images[pairs.table["sha256"][row].as_py()], [(64, 64)])[0] for row in rows]
        captions = [pairs.table["caption"][row].as_py() for row in rows]
        with torch.no_grad():
            moments = torch.stack(encode_images(vae, pixels))
            mean, log_variance = moments.chunk(2, dim=1)
            latents = (mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)) * vae.config.scaling_factor
            text_embeds, pooled = model.prompt_encoder.text_embeds(captions)
            llm_embeds = None
            if denoiser.cam is not None and model.prompt_encoder.llm is not None:
                llm = model.prompt_encoder.llm
                llm_embeds = pad_features(llm.encode(captions), llm.max_tokens)
        noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (len(rows),))
        added = added_conditions(model.pipeline, pooled, latents)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        predicted = denoiser(noisy, timesteps, text_embeds, llm_embeds, None, added)
        loss = F.mse_loss(predicted, scheduler.get_velocity(latents, noise, timesteps))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(parameters)
        return loss.item()

    return step


def bound_step(config: TrainConfig, model: Model, batch: Batch) -> Callable[[], object]:
    """Forward, backward and the optimizer of the same modules, and nothing else."""
    denoiser = build_denoiser(config, model)
    parameters = list(trained_parameters(denoiser).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, fused=True)
    scheduler = noise_scheduler(model.pipeline)
    assert batch.text_embeds is not None
    added = added_conditions(model.pipeline, batch.pooled_text_embeds, batch.latents)
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)

    def step() -> None:
        predicted = denoiser(noisy, batch.timesteps, batch.text_embeds, batch.llm_embeds, batch.llm_mask, added)
        loss = diffusion_loss(scheduler, predicted, batch.latents, batch.noise, batch.timesteps).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def mini(train: str, batch_size: int, threads: int, n_rounds: int) -> None:
    """The comparison on the mini family, medians over interleaved rounds."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(8 * batch_size, PAIRS_SEED, Path(folder) / "pairs", processes=1)
        config = TrainConfig(
            data=Path(folder) / "pairs",
            out=Path(folder) / "out",
            train=train,  # type: ignore[arg-type]
            cam=CamConfig(num_heads=4),
            train_batch_size=batch_size,
            learning_rate=1e-6,
        )
        pairs = open_pairs(config.data, config.captions)
        model = build_model(config)
        features = build_features(Path(folder) / "cache", config, model, pairs)
        batch = load_batch(config, model, features, 0)
        kinds = {
            "ours": our_steps(
                config, build_model(config), lambda steps: load_batches(config, model, features, steps, [0], 1)
            ),
            "step": our_steps(config, build_model(config), lambda _: repeat(batch)),
            "bound": repeated(bound_step(config, build_model(config), batch)),
            "diffusers": repeated(diffusers_step(config, build_model(config), pairs)),
        }
        rounds = [{name: seconds(run) for name, run in kinds.items()} for _ in range(n_rounds + 1)][1:]
    medians = {name: statistics.median(taken[name] for taken in rounds) for name in kinds}
    print(f"train {train}, batch {batch_size}, {threads} threads, {n_rounds} rounds")
    for name, median in medians.items():
        print(f"{name:10s} {1000 * median:7.0f} ms   {batch_size / median:7.1f} samples/s")

    def ratio(above: str, below: str) -> float:
        return statistics.median(taken[above] / taken[below] for taken in rounds)

    print(f"ours is {ratio('diffusers', 'ours'):.2f} x the samples/s of a loop in the manner of diffusers' example")
    print(
        f"step / bound {ratio('step', 'bound'):.3f}   ours / bound {ratio('ours', 'bound'):.3f}   (medians of rounds)"
    )


def repeated(step: Callable[[], object]) -> Callable[[int], object]:
    """So many steps a round."""
    return lambda n_steps: [step() for _ in range(n_steps)]


def seconds(run: Callable[[int], object]) -> float:
    """Of one step, a mean over a round."""
    began = time.perf_counter()
    run(STEPS_PER_ROUND)
    return (time.perf_counter() - began) / STEPS_PER_ROUND


@click.command(help=__doc__)
@click.option("--train", type=click.Choice(["cam", "cam+unet", "unet"]), default="cam+unet", show_default=True)
@click.option("--batch-size", type=int, help="[default: 32 on mini, 64 at full width]")
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=10, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--size", type=click.Choice(list(SIZES)), default="sd15-512", show_default=True, help="With cuda.")
@click.option("--no-compile", is_flag=True, help="With cuda.")
@click.option("--gradient-checkpointing", is_flag=True, help="With cuda.")
def main(
    train: str,
    batch_size: int | None,
    threads: int,
    rounds: int,
    device: str,
    size: str,
    no_compile: bool,
    gradient_checkpointing: bool,
) -> None:
    """Print the comparison, or the rate on a GPU."""
    if device == "cpu":
        mini(train, batch_size or 32, threads, rounds)
    else:
        full_width(train, size, batch_size or 64, rounds, compile=not no_compile, checkpointing=gradient_checkpointing)


if __name__ == "__main__":
    main()
