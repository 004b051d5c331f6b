"""Train clip-mini from scratch on scenes: pictures and what is said of them, matched within each batch.

About 25 minutes on one CPU core; the same command again goes on from the last checkpoint:

    python -m pipelines.mini.train_clip --out runs/mini/clip --images runs/mini/vlm/data
"""

import datetime
import json
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPProcessor

from pipelines.mini.clip import build_model, build_processor, build_tokenizer, export
from pipelines.mini.clip_data import draw_tokens, vocabulary_texts, write_tokens
from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.train_vlm import SceneHeads
from pipelines.mini.vlm import GRID_SIZE, SCALE_FACTOR
from pipelines.mini.vlm_data import pixel_values, render_scenes

MAX_LOGIT_SCALE = 4.6052  # log 100, as in CLIP
SCENE_WEIGHT = 0.2
N_VOCABULARY_SCENES = 4_000


def embed_images(model: CLIPModel, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit embeddings `[B,64]`, and the patch states averaged over cells of 2 x 2 patches `[B,16,96]`."""
    outputs = model.vision_model(pixel_values=pixels)
    patches = outputs.last_hidden_state[:, 1:]
    grid = patches.transpose(1, 2).unflatten(2, (GRID_SIZE * SCALE_FACTOR, GRID_SIZE * SCALE_FACTOR))
    cells = F.avg_pool2d(grid, SCALE_FACTOR).flatten(2).transpose(1, 2)
    return F.normalize(model.visual_projection(outputs.pooler_output), dim=-1), cells


def embed_texts(model: CLIPModel, input_ids: torch.Tensor) -> torch.Tensor:
    """Return unit embeddings `[B,64]` of token ids `[B,32]`; without a mask, as diffusers encodes prompts."""
    return F.normalize(model.text_projection(model.text_model(input_ids=input_ids).pooler_output), dim=-1)


def contrastive_losses(model: CLIPModel, images: torch.Tensor, texts: torch.Tensor) -> LossParts:
    """CLIP's loss of unit embeddings `[B,64]` of matching images and texts, and how many find each other."""
    logits = model.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * images @ texts.T
    target = torch.arange(len(logits))
    found = (logits.argmax(dim=1) == target).float() + (logits.argmax(dim=0) == target).float()
    return {
        "clip": (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2,
        "recall_at_1": found.mean() / 2,
    }


def train(out: Path, data: Path, n_scenes: int, stage: Stage, threads: int, seed: int) -> None:
    """Prepare scenes and texts, train and export `out/model`, with `training.json` beside it."""
    out.mkdir(parents=True, exist_ok=True)
    render_scenes(data, n_scenes, threads)
    processor = load_processor(out / "processor", threads)
    write_tokens(out / "tokens.npy", processor.tokenizer, n_scenes, threads)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = np.load(data / "images.npy", mmap_mode="r")[:n_scenes]
    targets = {name: torch.from_numpy(array) for name, array in np.load(data / "targets.npz").items()}
    tokens = np.load(out / "tokens.npy")
    model = build_model(processor.tokenizer)
    # The truth read off the image tower's states makes it see long before captions alone would; dropped afterwards.
    heads = SceneHeads(model.config.vision_config.hidden_size)
    click.echo(f"{model.num_parameters():,} parameters, {len(processor.tokenizer)} tokens, {len(images):,} scenes")

    def losses_of(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        embeds, cells = embed_images(model, pixel_values(images[indices]))
        texts = embed_texts(model, torch.from_numpy(draw_tokens(tokens, indices, seed)))
        parts = contrastive_losses(model, embeds, texts)
        scene = heads(cells, {name: target[indices] for name, target in targets.items()})
        parts["scene"] = torch.stack(list(scene.values())).sum()
        return parts["clip"] + SCENE_WEIGHT * parts["scene"], parts

    def save_model() -> None:
        export(model, processor, out / "model")

    modules = nn.ModuleDict({"model": model, "heads": heads})
    trained = train_stage(stage, modules, losses_of, len(images), out, seed, save_model)
    save_model()
    training = {
        "n_scenes": len(images),
        "seed": seed,
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "parameters": model.num_parameters(),
        "text_config": {
            name: getattr(model.config.text_config, name)
            for name in ("hidden_size", "num_hidden_layers", "max_position_embeddings", "vocab_size")
        },
        "vision_config": {
            name: getattr(model.config.vision_config, name)
            for name in ("hidden_size", "num_hidden_layers", "patch_size")
        },
        "projection_dim": model.config.projection_dim,
        "stage": trained,
    }
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    click.echo(out / "model")


def load_processor(folder: Path, processes: int) -> CLIPProcessor:
    """Load the processor from `folder`; the first time, learn the vocabulary from 4,000 scenes."""
    if not folder.exists():
        build_processor(build_tokenizer(vocabulary_texts(N_VOCABULARY_SCENES, processes))).save_pretrained(folder)
    processor: CLIPProcessor = CLIPProcessor.from_pretrained(folder)
    return processor


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; holds the checkpoint.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of rendered scenes. [default: OUT/data]")
@click.option("--n-scenes", default=80_000, show_default=True, help="Training scenes.")
@click.option("--minutes", default=25.0, show_default=True, help="Length of the training.")
@click.option("--steps", default=0, help="Length in steps instead.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path,
    images: Path | None,
    n_scenes: int,
    minutes: float,
    steps: int,
    batch_size: int,
    threads: int,
    seed: int,
) -> None:
    """Turn the options into a stage and train."""
    stage = Stage("clip", batch_size, (5e-3, 2e-3), minutes, steps)
    train(out, images or out / "data", n_scenes, stage, threads, seed)


if __name__ == "__main__":
    main()
