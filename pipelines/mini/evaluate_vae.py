"""Measure a trained vae-mini's round trip on scenes it has never seen, and write its model card:

python -m pipelines.mini.evaluate_vae runs/mini/vae
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from tqdm import tqdm

from llm4gen_data.scenes.facts import KINDS, compare, truth_facts
from llm4gen_data.scenes.read import read_scene
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, Split, sample_scene
from pipelines.mini.card import notes, training_line
from pipelines.mini.evaluate_vlm import EVALUATION_SEED
from pipelines.mini.vlm_data import pixel_values

CARD = """\
---
license: apache-2.0
library_name: diffusers
tags: [autoencoder, vae, text-to-image, synthetic]
---

# vae-mini

A variational autoencoder of {parameters:.2f} million parameters in diffusers' `AutoencoderKL`. It turns the 64-pixel
scenes of `llm4gen_data.scenes` into latents of 8 x 8 x 12 and back. It stands in for Stable Diffusion's
autoencoder wherever a latent diffusion model must be trained and run without a GPU and without a model hub.

## Use

`AutoencoderKL.from_pretrained`; compute in float32, the weights are stored in float16. Pictures are scaled to -1..1.
`scaling_factor` ({scaling_factor:.5f}) is one over the standard deviation of the latents of 2,000 training scenes.

## Architecture

Channels {block_out_channels}, one residual block a level in the encoder and two in the decoder, no attention, three
halvings.

## Training

From random weights on {n_scenes:,} scenes of the `train` split (seeds from 50,000,000, half of them re-compressed as
JPEG of quality 75 to 100, one in ten blurred by up to 0.8 px); {training_line}. The loss is L1
+ MSE + 0.5 x L1 of the differences between neighbouring pixels + 2 x L1 of the means over 4 x 4 pixels + 0.0001 x KL
+ 0.03 x what linear heads, dropped afterwards, miss of the object that covers each latent (whether there is one, its
shape, colour, texture, size and centre): like things then lie together, which is what a model that draws latents
needs. The decoder gets them with noise of up to a quarter of their standard deviation.
{notes}
    python -m pipelines.mini.train_vae --out runs/mini/vae --images runs/mini/vlm/data
    python -m pipelines.mini.evaluate_vae runs/mini/vae

## Measured

Round trip (the latents' mean, decoded in float32, rounded to 8 bits) of scenes with seeds from 90,000,000, which
training never saw: {n} of the `train` split, and {n} of the `unseen` split, each of which holds an attribute-shape
pair that no training scene holds. Facts: the share of all that is true of the scenes which the scene reader
(`llm4gen_data.scenes.read`) tells; abstaining counts as wrong, an object is right if its shape is. PSNR is the mean
over pictures.

| | train split | unseen split |
|---|---|---|
{rows}

Latents of the `train` scenes by channel: {latents}.

## Limits

It knows nothing but these scenes; photographs come back as blurred patches.
"""


@torch.inference_mode()
def round_trip(model: AutoencoderKL, images: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
    """Encode and decode uint8 `[N,64,64,3]`; return the uint8 pictures and the scaled latents `[N,12,8,8]`."""
    decoded, latents = [], []
    for first in range(0, len(images), 50):
        latents.append(model.encode(pixel_values(images[first : first + 50])).latent_dist.mean)
        pixels = model.decode(latents[-1]).sample.clamp(-1, 1)
        decoded.append(((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(decoded), torch.cat(latents) * model.config.scaling_factor


def reader_accuracy(scenes: list[Scene], images: np.ndarray) -> dict[str, float]:
    """The share of each kind of fact that the scene reader tells rightly from uint8 images `[N,64,64,3]`."""
    right, true = Counter[str](), Counter[str]()
    for scene, image in zip(tqdm(scenes, desc="read", mininterval=5), images, strict=True):
        for kind, counts in compare(read_scene(Image.fromarray(image)).facts(), truth_facts(scene)).items():
            right[kind] += counts.true_positive
            true[kind] += counts.true_positive + counts.false_negative
    return {kind: right[kind] / true[kind] for kind in KINDS}


def evaluate(model: AutoencoderKL, n: int, split: Split) -> dict[str, Any]:
    """Evaluate the round trip of `n` scenes of a split."""
    scenes = [sample_scene(EVALUATION_SEED + i, split=split) for i in range(n)]
    originals = np.stack([np.asarray(render(scene)) for scene in scenes])
    decoded, latents = round_trip(model, originals)
    mse = ((decoded.astype(np.float32) - originals) ** 2).mean(axis=(1, 2, 3))
    return {
        "n_scenes": n,
        "psnr_db": float((10 * np.log10(255**2 / mse)).mean()),
        "reader_before": reader_accuracy(scenes, originals),
        "reader_after": reader_accuracy(scenes, decoded),
        "latent_mean": latents.mean(dim=(0, 2, 3)).tolist(),
        "latent_std": latents.std(dim=(0, 2, 3)).tolist(),
    }


def model_card(training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return the card as Markdown from `training.json` and `evaluation.json`."""
    splits = (evaluation["train"], evaluation["unseen"])
    rows = ["| PSNR | " + " | ".join(f"{split['psnr_db']:.1f} dB" for split in splits) + " |"]
    for kind in KINDS:
        cells = (f"{s['reader_before'][kind]:.1%} -> {s['reader_after'][kind]:.1%}" for s in splits)
        rows.append(f"| {kind}, before -> after | " + " | ".join(cells) + " |")
    moments = zip(splits[0]["latent_mean"], splits[0]["latent_std"], strict=True)
    return CARD.format(
        parameters=training["parameters"] / 1e6,
        scaling_factor=training["scaling_factor"],
        block_out_channels=", ".join(str(channels) for channels in training["block_out_channels"]),
        n_scenes=training["n_scenes"],
        notes=notes(training),
        training_line=training_line(training),
        n=splits[0]["n_scenes"],
        rows="\n".join(rows),
        latents=", ".join(f"mean {mean:.2f}, standard deviation {std:.2f}" for mean, std in moments),
    )


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--n", default=300, show_default=True, help="Scenes of each split.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def main(run: Path, n: int, threads: int) -> None:
    """Evaluate both splits and write `evaluation.json` and the card."""
    torch.set_num_threads(threads)
    model = AutoencoderKL.from_pretrained(run / "model", torch_dtype=torch.float32).eval()
    splits: tuple[Split, ...] = ("train", "unseen")
    evaluation: dict[str, Any] = {split: evaluate(model, n, split) for split in splits}
    (run / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n")
    card = model_card(json.loads((run / "training.json").read_text()), evaluation)
    (run / "model" / "README.md").write_text(card)
    click.echo(card)


if __name__ == "__main__":
    main()
