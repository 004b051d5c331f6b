"""What a training step costs beyond its UNet: `python -m tests.performance.training_step [--train cam]`.

The bound is the forward and backward pass of the same modules on tensors that are already there: no data, no
text encoder, no optimizer, no moving average. Both are measured in turns, in the same process.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from diffusers.training_utils import EMAModel

from llm4gen_model.training.config import CamConfig, TrainConfig
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.loop import batch_loss, load_batch, trainable_modules
from llm4gen_model.training.loss import diffusion_loss, noise_scheduler
from llm4gen_model.training.run import build_features, build_model
from pipelines.mini.pairs import PAIRS_SEED, write_pairs

N_ROUNDS, N_WARMUP = 20, 3


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@click.command(help=__doc__)
@click.option("--train", type=click.Choice(["cam", "cam+unet", "unet"]), default="cam", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(train: str, batch_size: int, threads: int) -> None:
    """Interleaved rounds, medians in milliseconds, the ratio of step and bound."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(4 * batch_size, PAIRS_SEED, Path(folder) / "pairs", processes=1)
        config = TrainConfig(
            data=Path(folder) / "pairs",
            out=Path(folder) / "out",
            train=train,  # type: ignore[arg-type]
            cam=CamConfig(num_heads=4),
            train_batch_size=batch_size,
        )
        model = build_model(config)
        features = build_features(Path(folder) / "cache", config, model, open_pairs(config.data, config.captions))
        parameters = list(trainable_modules(model, train).parameters())
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
        ema, scheduler = EMAModel(parameters), noise_scheduler(model.pipeline)
        steps = iter(range(10_000))

        def step() -> None:
            loss = batch_loss(config, model, scheduler, load_batch(config, model, features, next(steps)))
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.step(parameters)

        batch = load_batch(config, model, features, 0)
        with torch.no_grad():
            context, _ = model.prompt_encoder.text_embeds(batch.captions)

        def bound() -> None:
            given = context
            if batch.llm_embeds is not None and model.prompt_encoder.cam is not None:
                given = model.prompt_encoder.cam(context, batch.llm_embeds)
            loss = diffusion_loss(model.pipeline, scheduler, batch.latents, batch.noise, batch.timesteps, given, None)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.zero_grad()

        taken = [(seconds(step), seconds(bound)) for _ in range(N_ROUNDS + N_WARMUP)][N_WARMUP:]
    ours, least = (1000 * statistics.median(times) for times in zip(*taken, strict=True))
    print(f"train {train}, batch {batch_size}, {threads} threads")
    print(f"step  {ours:6.0f} ms   {1000 * batch_size / ours:6.0f} images/s   {ours / least:.2f} x the bound")
    print(f"bound {least:6.0f} ms   {1000 * batch_size / least:6.0f} images/s   forward and backward alone")


if __name__ == "__main__":
    main()
