"""Train vae-mini's decoder further on latents as a UNet draws them, so that small errors of the UNet do not show.

The encoder stays as it is, and with it every latent. A picture's latents are noised a little, denoised by one
prediction of the UNet for its caption, and decoded; the decoder learns to bring back the picture. About 20 minutes on
one CPU core; the same command again goes on from the last checkpoint:

    python -m pipelines.mini.train_decoder --out runs/mini/vae-decoder --pairs runs/mini/pairs-base \\
        --unet runs/mini/unet-final/model
"""

import copy
import datetime
import io
import json
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import nn

from llm4gen_model.family import BUNDLED
from llm4gen_model.models import load_model
from llm4gen_model.training.loss import noise_scheduler
from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.train_vae import LOSS_WEIGHTS, picture_losses
from pipelines.mini.vlm_data import pixel_values

# Up to here noise leaves every object's shape in the latents, so that the picture is still the right answer.
MAX_TIMESTEP = 300
CLEAN_SHARE = 0.25  # of a batch is decoded from the encoder's own latents: round trips must stay what they were
CAPTIONS = ("short_caption", "medium_caption")


def read_pairs(folder: Path, n: int) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Return `n` pictures uint8 `[N,64,64,3]` and their captions, one of each of CAPTIONS."""
    pictures: list[np.ndarray] = []
    captions: list[tuple[str, ...]] = []
    for path in sorted((folder / "data").glob("*.parquet")):
        for row in pq.read_table(path, columns=["image", *CAPTIONS]).to_pylist()[: n - len(pictures)]:
            pictures.append(np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")))
            captions.append(tuple(row[name] for name in CAPTIONS))
    return np.stack(pictures), captions


def train(out: Path, pairs: Path, unet: Path, n_pairs: int, stage: Stage, threads: int, seed: int) -> None:
    """Train and export `out/model`, with `training.json` beside it."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    images, captions = read_pairs(pairs, n_pairs)
    drawing = load_model(str(unet))
    denoiser, encoder = drawing.pipeline.unet, drawing.prompt_encoder
    scheduler = noise_scheduler(drawing.pipeline)
    vae = AutoencoderKL.from_pretrained(BUNDLED / "vae-mini", dtype=torch.float32)
    vae.requires_grad_(False)
    modules = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).requires_grad_(True)
    scale = vae.config.scaling_factor

    def losses_of(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        generator = torch.Generator().manual_seed(int(indices[0]) * len(images) + int(indices[-1]) + seed)
        pixels = pixel_values(images[indices])
        n_drawn = len(indices) - round(CLEAN_SHARE * len(indices))
        with torch.inference_mode():
            latents = vae.encode(pixels).latent_dist.mean * scale
            noise = torch.randn(latents.shape, generator=generator)[:n_drawn]
            timesteps = torch.randint(1, MAX_TIMESTEP, (n_drawn,), generator=generator)
            which = torch.randint(len(CAPTIONS), (n_drawn,), generator=generator).tolist()
            told = [captions[index][each] for index, each in zip(indices, which, strict=False)]
            noisy = scheduler.add_noise(latents[:n_drawn], noise, timesteps)
            velocity = denoiser(noisy, timesteps, encoder.encode(told).prompt_embeds).sample
            alpha = scheduler.alphas_cumprod[timesteps][:, None, None, None]
            drawn = alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity
            latents = torch.cat([drawn, latents[n_drawn:]])
        parts = picture_losses(vae.decode(latents.clone() / scale).sample, pixels)
        return torch.stack([LOSS_WEIGHTS[name] * part for name, part in parts.items()]).sum(), parts

    def save_model() -> None:
        copy.deepcopy(vae).half().save_pretrained(out / "model")

    trained = train_stage(stage, modules, losses_of, len(images), out, seed, save_model)
    save_model()
    training = {
        "n_pairs": len(images),
        "seed": seed,
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "parameters": sum(p.numel() for p in modules.parameters()),
        "max_timestep": MAX_TIMESTEP,
        "stage": trained,
    }
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    click.echo(out / "model")


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; holds the checkpoint.")
@click.option(
    "--pairs", type=click.Path(path_type=Path, exists=True), required=True, help="What the UNet was trained on."
)
@click.option("--unet", type=click.Path(path_type=Path, exists=True), required=True, help="Export of its training.")
@click.option("--n-pairs", default=20_000, show_default=True)
@click.option("--minutes", default=20.0, show_default=True, help="Length of the training.")
@click.option("--steps", default=0, help="Length in steps instead.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path,
    pairs: Path,
    unet: Path,
    n_pairs: int,
    minutes: float,
    steps: int,
    batch_size: int,
    threads: int,
    seed: int,
) -> None:
    """Turn the options into a stage and train."""
    train(out, pairs, unet, n_pairs, Stage("decoder", batch_size, (0.0, 1e-3), minutes, steps), threads, seed)


if __name__ == "__main__":
    main()
