"""Train vae-mini from scratch on scenes: 64-pixel pictures to latents of 8 x 8 x 12 and back.

Latents are shaped for the model that is to draw them: linear heads read off each of them what stands there, which
pulls like things together (as VA-VAE does with features of photographs, arXiv 2501.01423), and the decoder gets them
with noise, so that a drawn latent may be a little wrong. About 40 minutes on one CPU core; the same command again goes
on from the last checkpoint:

    python -m pipelines.mini.train_vae --out runs/mini/vae --images runs/mini/vlm/data
"""

import copy
import datetime
import json
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.vlm import IMAGE_SIZE_PX
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, TRAIN_SEED, pixel_values, render_scenes

LATENT_CHANNELS, LATENT_SIDE = 12, 8
CELL_PX = IMAGE_SIZE_PX // LATENT_SIDE
# How much of an object's radius around its centre is surely covered by it, whatever its shape.
COVERED_SHARE = 0.7
# Of the latents' own standard deviation: what the decoder must put up with.
MAX_NOISE = 0.25
# Of the KL divergence only enough to keep the latents near 0.
LOSS_WEIGHTS = {"l1": 1.0, "mse": 1.0, "edges": 0.5, "coarse": 2.0, "kl": 1e-4, "heads": 0.03}
N_SCALING_IMAGES = 2_000


def build_model(block_out_channels: tuple[int, ...] = (16, 32, 48, 64)) -> AutoencoderKL:
    """Build the model with random weights: three halvings of 64 px, no attention."""
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


class LatentHeads(nn.Module):
    """Reads off each latent what object stands there, and where its centre is; dropped after training."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = nn.Linear(LATENT_CHANNELS, 1)
        self.offset = nn.Linear(LATENT_CHANNELS, 2)
        self.attributes = nn.ModuleDict({name: nn.Linear(LATENT_CHANNELS, len(v)) for name, v in ATTRIBUTES.items()})

    def forward(self, latents: torch.Tensor, attributes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Sum of the losses of latents `[B,C,8,8]` against what `cell_targets` tells of their scenes."""
        cells = latents.flatten(2).transpose(1, 2)
        present = attributes[..., 0] != NO_OBJECT
        told = cells[present]
        losses = [
            F.binary_cross_entropy_with_logits(self.presence(cells).squeeze(-1), present.float()),
            F.smooth_l1_loss(self.offset(told), offsets[present]),
        ]
        for index, head in enumerate(self.attributes.values()):
            losses.append(F.cross_entropy(head(told), attributes[..., index][present]))
        return torch.stack(losses).sum()


def cell_targets(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the training scene of a seed holds in each latent: attributes `[64,4]` (`NO_OBJECT` where nothing surely
    covers its middle), and the way to the object's centre in latents `[64,2]`."""
    attributes = np.full((LATENT_SIDE**2, len(ATTRIBUTES)), NO_OBJECT, dtype=np.int8)
    offsets = np.zeros((LATENT_SIDE**2, 2), dtype=np.float16)
    rows, columns = np.divmod(np.arange(LATENT_SIDE**2), LATENT_SIDE)
    for o in sample_scene(seed, split="train").objects:
        right, down = o.x - (columns + 0.5) * CELL_PX, o.y - (rows + 0.5) * CELL_PX
        # A small object may lie between four middles: the cell of its centre always counts.
        inside = (np.hypot(right, down) < COVERED_SHARE * o.radius) | (
            (columns == o.x // CELL_PX) & (rows == o.y // CELL_PX)
        )
        attributes[inside] = [names.index(getattr(o, name)) for name, names in ATTRIBUTES.items()]
        offsets[inside] = np.stack([right, down], axis=-1)[inside] / CELL_PX
    return attributes, offsets


def write_targets(path: Path, n: int, processes: int) -> None:
    """Write `cell_targets` of `n` training scenes; a finished file is left as it is."""
    if path.exists():
        return
    with get_context("fork").Pool(processes) as pool:
        seeds = range(TRAIN_SEED, TRAIN_SEED + n)
        found = list(tqdm(pool.imap(cell_targets, seeds, chunksize=200), total=n, desc="targets", mininterval=5))
    attributes, offsets = (np.stack(column) for column in zip(*found, strict=True))
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, attributes=attributes, offsets=offsets)
    partial.replace(path)


def reconstruction_losses(
    model: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, LossParts]:
    """Latents `[B,12,8,8]` of a batch `[B,3,64,64]` in -1..1, and the losses of what is decoded from them moved by
    `noise`, in standard deviations of all latents."""
    with torch.autocast("cpu", torch.bfloat16):  # a third faster
        posterior = model.encode(pixels).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        decoded = model.decode(mean + mean.std().detach() * noise).sample.float()
    return mean, {**picture_losses(decoded, pixels), "kl": 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()}


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
    write_targets(out / "cells.npz", n_scenes, threads)
    images = np.load(data / "images.npy", mmap_mode="r")[:n_scenes]
    cells = np.load(out / "cells.npz")
    attributes, offsets = cells["attributes"], cells["offsets"]
    model, heads = build_model(), LatentHeads()
    click.echo(f"{model.num_parameters():,} parameters, {len(images):,} scenes")

    def losses_of(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        generator = torch.Generator().manual_seed(int(indices[0]) * len(images) + int(indices[-1]))
        shape = (len(indices), LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
        strength = MAX_NOISE * torch.rand(len(indices), 1, 1, 1, generator=generator)
        noise = strength * torch.randn(shape, generator=generator)
        latents, parts = reconstruction_losses(model, pixel_values(images[indices]), noise)
        told = (torch.from_numpy(attributes[indices]).long(), torch.from_numpy(offsets[indices]).float())
        parts["heads"] = heads(latents, *told)
        return torch.stack([weight * parts[name] for name, weight in LOSS_WEIGHTS.items()]).sum(), parts

    def save_model() -> None:
        export(model, images[:N_SCALING_IMAGES], out / "model")

    trained = train_stage(
        stage, nn.ModuleDict({"model": model, "heads": heads}), losses_of, len(images), out, seed, save_model
    )
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
@click.option("--minutes", default=40.0, show_default=True, help="Length of the training.")
@click.option("--steps", default=0, help="Length in steps instead.")
@click.option("--batch-size", default=16, show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path, images: Path | None, n_scenes: int, minutes: float, steps: int, batch_size: int, threads: int, seed: int
) -> None:
    """Turn the options into a stage and train."""
    train(out, images or out / "data", n_scenes, Stage("vae", batch_size, (5e-3, 1e-3), minutes, steps), threads, seed)


if __name__ == "__main__":
    main()
