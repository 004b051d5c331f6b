"""Train vlm-mini from scratch on scenes: first its eyes on what each image token holds, then captions and answers.

Two to three hours on a CPU core; the same command again goes on from the last checkpoint:

    python -m pipelines.mini.train_vlm --out runs/mini/vlm

More of stage two, from the weights of a run that is over:

    python -m pipelines.mini.train_vlm --out runs/mini/vlm-longer --start-from runs/mini/vlm --data runs/mini/vlm/data
"""

import datetime
import json
import random
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import AutoProcessor, Idefics3ForConditionalGeneration, Idefics3Processor

from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import BACKGROUNDS
from pipelines.mini.train import LossParts, Stage, train_stage
from pipelines.mini.vlm import GRID_SIZE, IMAGE_PREFIX, answer, build_model, build_processor, build_tokenizer, export
from pipelines.mini.vlm_batch import IGNORED, TextBatch, batch_texts
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, TRAIN_SEED, render_scenes
from pipelines.mini.vlm_forward import LayerParts, encode_images, project, text_hidden_states, transform
from pipelines.mini.vlm_grounding import GroundingHead
from pipelines.mini.vlm_texts import ANSWER_WEIGHT, NAMING_WEIGHT, scene_texts, tokenize, vocabulary_texts

# Of the text tower's layers: the second looks up what is named, the last but one chooses what is named next.
LOOKING_UP, PLANNING = 1, -2
GROUNDED = ("found", "place", "described", "plan")


class SceneHeads(nn.Module):
    """Auxiliary heads that read the truth off image tokens; they shape the vision tower and are then dropped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.presence = nn.Linear(width, 1)
        self.center = nn.Linear(width, 2)
        self.attributes = nn.ModuleDict({name: nn.Linear(width, len(v)) for name, v in ATTRIBUTES.items()})
        self.background = nn.Linear(width, len(BACKGROUNDS))

    def forward(self, image_tokens: torch.Tensor, targets: dict[str, torch.Tensor]) -> LossParts:
        """Losses of `image_tokens [B,16,D]` against the arrays that `render_scenes` wrote."""
        tokens = self.norm(image_tokens)
        present = targets["attributes"][..., 0] != NO_OBJECT
        presence = self.presence(tokens).squeeze(-1)
        background = self.background(tokens.mean(dim=1))
        # Centres in the frame, in tokens: the text tower can compare only what a token itself says of its place.
        cells = torch.arange(GRID_SIZE**2)
        corners = torch.stack([cells % GRID_SIZE, cells // GRID_SIZE], dim=-1) - (GRID_SIZE - 1) / 2
        centers = corners + targets["offsets"]
        losses = {
            "presence": F.binary_cross_entropy_with_logits(presence, present.float()),
            "center": F.mse_loss(self.center(tokens)[present], centers[present]),
            "background": F.cross_entropy(background, targets["backgrounds"]),
        }
        for index, (name, head) in enumerate(self.attributes.items()):
            losses[name] = F.cross_entropy(head(tokens[present]), targets["attributes"][..., index][present])
        return losses


def text_losses(
    model: Idefics3ForConditionalGeneration,
    grounding: GroundingHead,
    image_tokens: torch.Tensor,
    texts: TextBatch,
    parts: LayerParts | None = None,
) -> LossParts:
    """Return the weighted cross entropy of all answers, the losses of grounding, and parts of the first to log."""
    states = text_hidden_states(model, image_tokens, texts, parts)
    answers = texts.labels != IGNORED
    logits = model.lm_head(states[-1][answers]).float()
    each = F.cross_entropy(logits, texts.labels[answers], reduction="none")
    weights = texts.weights[answers]
    is_question = weights == ANSWER_WEIGHT
    is_name = weights == NAMING_WEIGHT
    return {
        "text": (each * weights).sum() / weights.sum(),
        **grounding(states[LOOKING_UP][texts.named].float(), texts.named_facts),
        "plan": grounding.plan_loss(states[PLANNING], texts.next_cells),
        "caption": each[~is_question].mean().detach(),
        "names": each[is_name].mean().detach(),
        "yes_no": 2 * each[is_question].mean().detach(),  # per answer: its second token, the end, costs nothing
    }


def train(
    out: Path,
    data: Path,
    start_from: Path | None,
    n_scenes: int,
    vision: Stage,
    caption: Stage,
    threads: int,
    seed: int,
    compiled: bool,
) -> None:
    """Prepare the scenes, train both stages and export `out/model`, with `training.json` beside it.

    `data` holds the scenes, or will. With `start_from`, a run, its processor is used, and stage two goes on from its
    weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    if start_from is not None:
        shutil.copytree(start_from / "processor", out / "processor", dirs_exist_ok=True)
    render_scenes(data, n_scenes, threads)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = np.load(data / "images.npy", mmap_mode="r")
    targets = {name: torch.from_numpy(array) for name, array in np.load(data / "targets.npz").items()}
    processor = load_processor(out / "processor", threads)
    tokenizer = processor.tokenizer
    prefix = tokenizer(IMAGE_PREFIX, add_special_tokens=False)["input_ids"]
    model = build_model(tokenizer)
    heads = SceneHeads(model.config.text_config.hidden_size)
    grounding = GroundingHead(model.config.text_config.hidden_size)
    layer_parts = (torch.compile(project, dynamic=True), torch.compile(transform, dynamic=True)) if compiled else None
    click.echo(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {n_scenes:,} scenes")

    def scene_losses(indices: np.ndarray, image_tokens: torch.Tensor) -> LossParts:
        parts: LossParts = heads(image_tokens, {name: t[indices] for name, t in targets.items()})
        return parts

    def vision_losses(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        parts = scene_losses(indices, encode_images(model, images[indices]))
        return torch.stack(list(parts.values())).sum(), parts

    def caption_losses(indices: np.ndarray) -> tuple[torch.Tensor, LossParts]:
        rng = random.Random(f"{seed}-{indices[0]}-{indices[-1]}")
        scenes = [sample_scene(TRAIN_SEED + int(index), split="train") for index in indices]
        rows = [(image, scene, *row) for image, scene in enumerate(scenes) for row in scene_texts(scene, rng)]
        texts = batch_texts(tokenize(rows, tokenizer), prefix, len(scenes), tokenizer.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16):
            image_tokens = encode_images(model, images[indices]).float()
            parts = text_losses(model, grounding, image_tokens, texts, layer_parts)
        scenes_lost = scene_losses(indices, image_tokens)
        scene = torch.stack(list(scenes_lost.values())).sum()
        grounded = torch.stack([parts[name] for name in GROUNDED]).sum()
        parts["center"] = scenes_lost["center"].detach()
        return parts["text"] + 0.2 * scene + 0.3 * grounded, {**parts, "scene": scene}

    def show_captions() -> None:
        click.echo(sample_captions(model, processor, images[:2]))
        export(model, processor, out / "model")

    stages: list[dict[str, Any]] = []
    notes: list[str] = []
    if start_from is None:
        eyes = {"vision_model": model.model.vision_model, "connector": model.model.connector, "heads": heads}
        trained = train_stage(vision, nn.ModuleDict(eyes), vision_losses, n_scenes, out, seed, lambda: None)
        stages.append({**trained, "threads": threads})
    else:
        load_weights(start_from / "caption.pt", {"model": model, "heads": heads, "grounding": grounding})
        earlier = json.loads((start_from / "training.json").read_text())
        stages = [{"threads": earlier["threads"], **stage} for stage in earlier["stages"]]
        notes = earlier.get("notes", [])
    modules = nn.ModuleDict({"model": model, "heads": heads, "grounding": grounding})
    trained = train_stage(caption, modules, caption_losses, n_scenes, out, seed, show_captions)
    stages.append({**trained, "threads": threads})
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
        "text_layers": model.config.text_config.num_hidden_layers,
        "stages": stages,
        "notes": notes,
    }
    (out / "training.json").write_text(json.dumps(training, indent=2) + "\n")
    click.echo(out / "model")


def load_weights(checkpoint: Path, modules: dict[str, nn.Module]) -> None:
    """Load modules by their names from a checkpoint; heads that it lacks begin anew, text layers as the identity."""
    saved = torch.load(checkpoint, weights_only=True)["modules"]
    for name, module in modules.items():
        start = f"{name}."
        own = {key.removeprefix(start): value for key, value in saved.items() if key.startswith(start)}
        missing = module.load_state_dict(own, strict=False).missing_keys
        for key in missing:
            if key.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(module.get_parameter(key))


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
@click.option(
    "--start-from",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A run that is over: stage two goes on from its weights, with its processor.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Rendered scenes, made if missing [default: OUT/data].")
@click.option("--n-scenes", default=80_000, show_default=True, help="Training scenes to prepare.")
@click.option("--vision-minutes", default=12.0, show_default=True, help="Length of stage one.")
@click.option("--minutes", default=150.0, show_default=True, help="Length of stage two.")
@click.option("--vision-steps", default=0, help="Length of stage one in steps instead.")
@click.option("--steps", default=0, help="Length of stage two in steps instead.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--compile", "compiled", is_flag=True, help="Compile the text layers: a third faster; takes a C++ compiler."
)
def main(
    out: Path,
    start_from: Path | None,
    data: Path | None,
    n_scenes: int,
    vision_minutes: float,
    minutes: float,
    vision_steps: int,
    steps: int,
    threads: int,
    seed: int,
    compiled: bool,
) -> None:
    """Turn the options into two stages and train."""
    vision = Stage("vision", 64, (5e-3, 2e-3), vision_minutes, vision_steps)
    caption = Stage("caption", 40, (1.5e-3, 1e-3), minutes, steps)
    train(out, data or out / "data", start_from, n_scenes, vision, caption, threads, seed, compiled)


if __name__ == "__main__":
    main()
