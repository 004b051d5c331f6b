"""Train vlm-mini from scratch on scenes: first its eyes on what each image token holds, then captions and answers.

About an hour on two CPU cores; the same command again goes on from the last checkpoint:

    python -m pipelines.mini.train_vlm --out runs/mini/vlm
"""

import datetime
import json
import random
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import AutoProcessor, Idefics3ForConditionalGeneration, Idefics3Processor

from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.scenes.vocabulary import BACKGROUNDS
from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.vlm import GRID_SIZE, answer, build_model, build_processor, build_tokenizer, export
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, TRAIN_SEED, pixel_values, render_scenes
from pipelines.mini.vlm_texts import ANSWER_WEIGHT, PackedTexts, describe, pack, scene_branches, vocabulary_texts


class SceneHeads(nn.Module):
    """Auxiliary heads that read the truth off image tokens; they shape the vision tower and are then dropped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.presence = nn.Linear(width, 1)
        self.offset = nn.Linear(width, 2)
        self.attributes = nn.ModuleDict({name: nn.Linear(width, len(v)) for name, v in ATTRIBUTES.items()})
        self.background = nn.Linear(width, len(BACKGROUNDS))

    def forward(self, image_tokens: torch.Tensor, targets: dict[str, torch.Tensor]) -> LossParts:
        """Losses of `image_tokens [B,16,D]` against the arrays that `render_scenes` wrote."""
        tokens = self.norm(image_tokens)
        present = targets["attributes"][..., 0] != NO_OBJECT
        presence = self.presence(tokens).squeeze(-1)
        background = self.background(tokens.mean(dim=1))
        losses = {
            "presence": F.binary_cross_entropy_with_logits(presence, present.float()),
            "offset": F.mse_loss(self.offset(tokens)[present], targets["offsets"][present]),
            "background": F.cross_entropy(background, targets["backgrounds"]),
        }
        for index, (name, head) in enumerate(self.attributes.items()):
            losses[name] = F.cross_entropy(head(tokens[present]), targets["attributes"][..., index][present])
        return losses


def encode_images(model: Idefics3ForConditionalGeneration, images: np.ndarray) -> torch.Tensor:
    """uint8 `[B,64,64,3]` to image tokens `[B,16,D]`."""
    patches = torch.ones(len(images), 2 * GRID_SIZE, 2 * GRID_SIZE, dtype=torch.bool)
    hidden = model.model.vision_model(pixel_values(images), patches).last_hidden_state
    tokens: torch.Tensor = model.model.connector(hidden)
    return tokens


def text_losses(model: Idefics3ForConditionalGeneration, image_tokens: torch.Tensor, texts: PackedTexts) -> LossParts:
    """Return the weighted cross entropy of all answers, and that of yes and no alone (for the log)."""
    embeds = model.get_input_embeddings()(texts.input_ids)
    is_image = texts.input_ids == model.config.image_token_id
    embeds = embeds.masked_scatter(is_image[..., None], image_tokens[texts.image_index])
    hidden = model.model.text_model(
        inputs_embeds=embeds,
        attention_mask=texts.attention_mask,
        position_ids=texts.position_ids,
        use_cache=False,
    ).last_hidden_state
    answers = texts.labels != NO_OBJECT
    each = F.cross_entropy(model.lm_head(hidden[answers]), texts.labels[answers], reduction="none")
    weights = texts.weights[answers]
    is_question = weights == ANSWER_WEIGHT
    return {
        "text": (each * weights).sum() / weights.sum(),
        "caption": each[~is_question].mean().detach(),
        "yes_no": 2 * each[is_question].mean().detach(),  # per answer: its second token, the end, costs nothing
    }


def train(out: Path, n_scenes: int, vision: Stage, caption: Stage, threads: int, seed: int) -> None:
    """Prepare the scenes, train both stages and export `out/model`, with `training.json` beside it."""
    data = out / "data"
    render_scenes(data, n_scenes, threads)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = np.load(data / "images.npy", mmap_mode="r")
    targets = {name: torch.from_numpy(array) for name, array in np.load(data / "targets.npz").items()}
    processor = load_processor(out / "processor", threads)
    tokenizer = processor.tokenizer
    model = build_model(tokenizer)
    heads = SceneHeads(model.config.text_config.hidden_size)
    eyes = {"vision_model": model.model.vision_model, "connector": model.model.connector, "heads": heads}
    click.echo(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {n_scenes:,} scenes")

    def scene_losses(indices: np.ndarray, image_tokens: torch.Tensor) -> LossParts:
        parts: LossParts = heads(image_tokens, {name: t[indices] for name, t in targets.items()})
        return parts

    def vision_losses(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        parts = scene_losses(indices, encode_images(model, images[indices]))
        return torch.stack(list(parts.values())).sum(), parts

    def caption_losses(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        rng = random.Random(f"{seed}-{indices[0]}-{indices[-1]}")
        rows = [
            (position, branches)
            for position, index in enumerate(indices)
            for branches in scene_branches(describe(TRAIN_SEED + int(index), rng), rng, n_questions=4)
        ]
        image_tokens = encode_images(model, images[indices])
        parts = text_losses(model, image_tokens, pack(rows, tokenizer))
        scene = torch.stack(list(scene_losses(indices, image_tokens).values())).sum()
        return parts["text"] + 0.1 * scene, {**parts, "scene": scene}

    def show_captions() -> None:
        click.echo(sample_captions(model, processor, images[:2]))
        export(model, processor, out / "model")

    stages = [
        train_stage(vision, nn.ModuleDict(eyes), vision_losses, n_scenes, out, seed, lambda: None),
        train_stage(
            caption,
            nn.ModuleDict({"model": model, "heads": heads}),
            caption_losses,
            n_scenes,
            out,
            seed,
            show_captions,
        ),
    ]
    export(model, processor, out / "model")
    training = {
        "n_scenes": n_scenes,
        "seed": seed,
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "parameters": model.num_parameters(),
        "vocab_size": len(tokenizer),
        "vision_width": model.config.vision_config.hidden_size,
        "text_width": model.config.text_config.hidden_size,
        "stages": stages,
    }
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    click.echo(out / "model")


def load_processor(folder: Path, processes: int) -> Idefics3Processor:
    """Load the processor from `folder`; the first time, build it with a vocabulary from 8,000 scenes."""
    if not folder.exists():
        build_processor(build_tokenizer(vocabulary_texts(8_000, processes))).save_pretrained(folder)
    processor: Idefics3Processor = AutoProcessor.from_pretrained(folder)
    return processor


def sample_captions(model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, images: np.ndarray) -> str:
    """Return the dense caption of each image by greedy decoding, one a line."""
    model.eval()
    pictures = [Image.fromarray(image) for image in images]
    captions, _ = answer(model, processor, pictures, [INSTRUCTIONS["paper"].text] * len(images))
    model.train()
    return "\n".join(captions)


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Run directory; holds data and checkpoints."
)
@click.option("--n-scenes", default=80_000, show_default=True, help="Training scenes to prepare.")
@click.option("--vision-minutes", default=12.0, show_default=True, help="Length of stage one.")
@click.option("--minutes", default=46.0, show_default=True, help="Length of stage two.")
@click.option("--vision-steps", default=0, help="Length of stage one in steps instead.")
@click.option("--steps", default=0, help="Length of stage two in steps instead.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path,
    n_scenes: int,
    vision_minutes: float,
    minutes: float,
    vision_steps: int,
    steps: int,
    threads: int,
    seed: int,
) -> None:
    """Turn the options into two stages and train."""
    vision = Stage("vision", 64, (5e-3, 2e-3), vision_minutes, vision_steps)
    caption = Stage("caption", 24, (3e-3, 2e-3), minutes, steps)
    train(out, n_scenes, vision, caption, threads, seed)


if __name__ == "__main__":
    main()
