"""Train vae-mini from scratch on scenes: 64-pixel pictures to latents of 16 x 16 x 4 and back.

About 20 minutes on one CPU core; the same command again goes on from the last checkpoint:

    python -m pipelines.mini.train_vae --out runs/mini/vae --images runs/mini/vlm/data
"""

import copy
import datetime
import json
from pathlib import Path

import click
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.vlm import IMAGE_SIZE_PX
from pipelines.mini.vlm_data import pixel_values, render_scenes

LATENT_CHANNELS = 4
# Of the KL divergence, enough to make the decoder deaf to small errors in latents, too little to blur.
LOSS_WEIGHTS = {"l1": 1.0, "mse": 1.0, "edges": 0.5, "coarse": 2.0, "kl": 2e-4}
N_SCALING_IMAGES = 2_000


def build_model(block_out_channels: tuple[int, ...] = (16, 32, 40)) -> AutoencoderKL:
    """Build the model with random weights: two halvings of 64 px, no attention."""
    n_levels = len(block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n_levels,
        up_block_types=("UpDecoderBlock2D",) * n_levels,
        block_out_channels=block_out_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE_PX,
        mid_block_add_attention=False,
    )


def reconstruction_losses(model: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor) -> LossParts:
    """Losses of a batch `[B,3,64,64]` in -1..1 whose latents are moved by `noise [B,4,16,16]` standard deviations."""
    with torch.autocast("cpu", torch.bfloat16):  # a third faster
        posterior = model.encode(pixels).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        decoded = model.decode(mean + torch.exp(0.5 * logvar) * noise).sample.float()
    return {**picture_losses(decoded, pixels), "kl": 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()}


def picture_losses(decoded: torch.Tensor, pixels: torch.Tensor) -> LossParts:
    """What tells `decoded` from `pixels`, both `[B,3,64,64]` in -1..1.

    `edges` compares differences between neighbouring pixels, which keeps thin stripes and small dots from being
    smoothed away; `coarse` compares means over 4 x 4 pixels, which keeps colours true.
    """
    return {
        "l1": F.l1_loss(decoded, pixels),
        "mse": F.mse_loss(decoded, pixels),
        "edges": F.l1_loss(decoded.diff(dim=-1), pixels.diff(dim=-1))
        + F.l1_loss(decoded.diff(dim=-2), pixels.diff(dim=-2)),
        "coarse": F.l1_loss(F.avg_pool2d(decoded, 4), F.avg_pool2d(pixels, 4)),
    }


@torch.inference_mode()
def latent_scale(model: AutoencoderKL, images: np.ndarray) -> float:
    """Return `scaling_factor`: one over the standard deviation of the latents of uint8 images `[N,64,64,3]`."""
    latents = [
        model.encode(pixel_values(images[first : first + 100])).latent_dist.mean
        for first in range(0, len(images), 100)
    ]
    return 1 / float(torch.cat(latents).std())


def export(model: AutoencoderKL, images: np.ndarray, folder: Path) -> None:
    """Write the diffusers folder: weights in float16, `scaling_factor` measured on `images`."""
    model.register_to_config(scaling_factor=round(latent_scale(model, images), 5))
    copy.deepcopy(model).half().save_pretrained(folder)


def train(out: Path, data: Path, n_scenes: int, stage: Stage, threads: int, seed: int) -> None:
    """Prepare the scenes, train and export `out/model`, with `training.json` beside it."""
    out.mkdir(parents=True, exist_ok=True)
    render_scenes(data, n_scenes, threads)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = np.load(data / "images.npy", mmap_mode="r")[:n_scenes]
    model = build_model()
    click.echo(f"{model.num_parameters():,} parameters, {len(images):,} scenes")

    def losses_of(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        generator = torch.Generator().manual_seed(int(indices[0]) * len(images) + int(indices[-1]))
        latent_px = IMAGE_SIZE_PX // 2 ** (len(model.config.block_out_channels) - 1)
        noise = torch.randn(len(indices), LATENT_CHANNELS, latent_px, latent_px, generator=generator)
        parts = reconstruction_losses(model, pixel_values(images[indices]), noise)
        return torch.stack([weight * parts[name] for name, weight in LOSS_WEIGHTS.items()]).sum(), parts

    def save_model() -> None:
        export(model, images[:N_SCALING_IMAGES], out / "model")

    trained = train_stage(stage, nn.ModuleDict({"model": model}), losses_of, len(images), out, seed, save_model)
    save_model()
    training = {
        "n_scenes": len(images),
        "seed": seed,
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "parameters": model.num_parameters(),
        "block_out_channels": model.config.block_out_channels,
        "scaling_factor": model.config.scaling_factor,
        "stage": trained,
    }
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    click.echo(out / "model")


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; holds the checkpoint.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of rendered scenes. [default: OUT/data]")
@click.option("--n-scenes", default=80_000, show_default=True, help="Training scenes.")
@click.option("--minutes", default=20.0, show_default=True, help="Length of the training.")
@click.option("--steps", default=0, help="Length in steps instead.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path, images: Path | None, n_scenes: int, minutes: float, steps: int, batch_size: int, threads: int, seed: int
) -> None:
    """Turn the options into a stage and train."""
    train(out, images or out / "data", n_scenes, Stage("vae", batch_size, (0.0, 1e-3), minutes, steps), threads, seed)


if __name__ == "__main__":
    main()
