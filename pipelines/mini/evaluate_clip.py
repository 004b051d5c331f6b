"""Measure a trained clip-mini on scenes it has never seen, and write its model card:

python -m pipelines.mini.evaluate_clip runs/mini/clip
"""

import json
import random
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from transformers import CLIPModel, CLIPTokenizer

from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, Split, counterfactuals, sample_scene
from pipelines.mini.card import notes, training_line
from pipelines.mini.clip_data import encode
from pipelines.mini.evaluate_vlm import EVALUATION_SEED
from pipelines.mini.train_clip import embed_images, embed_texts
from pipelines.mini.vlm_data import pixel_values

N_CANDIDATES = 256
WRITERS = {"short": short_caption, "medium": medium_caption, "dense": dense_caption}
SPLITS: tuple[Split, ...] = ("train", "unseen")

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags: [clip, text-encoder, text-to-image, synthetic]
---

# clip-mini

A CLIP of {parameters:.2f} million parameters in transformers' `CLIPModel`. It matches the procedurally drawn 64-pixel
scenes of `llm4gen_data.scenes` with what is said of them. Its text tower stands in for Stable Diffusion's text
encoder, the whole model for a CLIP score, wherever no GPU and no model hub is at hand.

## Use

`CLIPModel`, `CLIPTextModel`, `CLIPTokenizer`, `CLIPProcessor` (`from_pretrained`), and as `text_encoder` and
`tokenizer` of a `StableDiffusionPipeline`. Compute in float32; the weights are stored in float16. A prompt holds at
most {max_position_embeddings} tokens with its start and its end, and is cut behind them: a caption of about
{mean_dense_words:.0f} words mostly is. The vocabulary is CLIP's kind of lower-cased byte-level BPE with {vocab_size}
entries, so that any text can be spelled, and the common words of the scenes' grammar are one token each.

## Architecture

Text tower of {text_layers} layers x {text_width}, image tower of {vision_layers} layers x {vision_width} (patches of
{patch_size} px), 4 heads, embeddings of {projection_dim}.

## Training

From random weights on {n_scenes:,} scenes of the `train` split (seeds from 50,000,000, half of them re-compressed as
JPEG of quality 75 to 100, one in ten blurred by up to 0.8 px), each with one of six texts: two short captions, two
medium ones, the beginning of a dense one, an alt text (36, 44, 15 and 5 %). CLIP's loss over the batch, and a fifth
of auxiliary heads' loss that read the truth off the image tower's states (the heads are not part of the model);
{training_line}.
{notes}
    python -m pipelines.mini.train_clip --out runs/mini/clip --images runs/mini/vlm/data
    python -m pipelines.mini.evaluate_clip runs/mini/clip

## Measured

In float32 on scenes with seeds from 90,000,000, which training never saw. Retrieval: of {n_candidates} scenes, each
with one caption, the share whose own partner comes first (guessing: {guess:.1%}). A caption that fits several of
the scenes has one partner nevertheless; about a fifth of them hold a single object, of which there are few kinds.
Twins: a scene's medium caption against that of its twin, drawn with the same random numbers, where the twin is the
scene with the colours of two objects exchanged, or the scene mirrored; the share of {n_candidates} scenes that lie
nearer to their own caption (guessing: 50 %).

| | train split | unseen split |
|---|---|---|
{rows}

## Limits

It knows nothing but these scenes; words that training never uses are spelled in pieces and not understood. It tells
well what is in a picture, less well which colour belongs to which object, and hardly how objects stand to each other:
see the rows on twins.
"""


@torch.inference_mode()
def similarities(model: CLIPModel, tokenizer: CLIPTokenizer, scenes: list[Scene], texts: list[str]) -> torch.Tensor:
    """Cosine similarities `[scenes, texts]`."""
    images = np.stack([np.asarray(render(scene)) for scene in scenes])
    image_embeds, _ = embed_images(model, pixel_values(images))
    text_embeds = embed_texts(model, torch.from_numpy(encode(tokenizer, texts).astype(np.int64)))
    return image_embeds @ text_embeds.T


def retrieval(model: CLIPModel, tokenizer: CLIPTokenizer, scenes: list[Scene], caption: str) -> dict[str, float]:
    """Recall at 1, both ways, of captions of one kind."""
    texts = [WRITERS[caption](scene, random.Random(scene.seed)) for scene in scenes]
    scores = similarities(model, tokenizer, scenes, texts)
    own = torch.arange(len(scenes))
    return {
        "image_to_text": float((scores.argmax(dim=1) == own).float().mean()),
        "text_to_image": float((scores.argmax(dim=0) == own).float().mean()),
    }


def twins(model: CLIPModel, tokenizer: CLIPTokenizer, split: Split, change: str, n: int) -> float:
    """The share of `n` scenes that lie nearer to their own medium caption than to that of their changed twin."""
    scenes: list[Scene] = []
    own: list[str] = []
    others: list[str] = []
    seed = EVALUATION_SEED
    while len(scenes) < n:
        scene = sample_scene(seed, split=split)
        twin = counterfactuals(scene).get(change)
        if twin is not None:
            texts = [medium_caption(each, random.Random(seed)) for each in (scene, twin)]
            # A twin may be told by the same words, where the caption tells no relation.
            if len({tuple(ids) for ids in encode(tokenizer, texts).tolist()}) == 2:
                scenes.append(scene)
                own.append(texts[0])
                others.append(texts[1])
        seed += 1
    right = similarities(model, tokenizer, scenes, own).diagonal()
    wrong = similarities(model, tokenizer, scenes, others).diagonal()
    return float((right > wrong).float().mean())


def evaluate(model: CLIPModel, tokenizer: CLIPTokenizer, split: Split) -> dict[str, Any]:
    """Evaluate retrieval and twins on scenes of a split."""
    scenes = [sample_scene(EVALUATION_SEED + i, split=split) for i in range(N_CANDIDATES)]
    dense = [dense_caption(scene, random.Random(scene.seed)) for scene in scenes]
    return {
        "retrieval": {caption: retrieval(model, tokenizer, scenes, caption) for caption in WRITERS},
        "twins": {
            change: twins(model, tokenizer, split, change, N_CANDIDATES)
            for change in ("colors_swapped", "relation_mirrored")
        },
        "mean_dense_words": float(np.mean([len(text.split()) for text in dense])),
    }


def model_card(training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return the card as Markdown from `training.json` and `evaluation.json`."""
    splits = [evaluation[split] for split in SPLITS]
    rows = []
    for caption in WRITERS:
        for way in ("image_to_text", "text_to_image"):
            label = f"{caption} captions, {way.replace('_', ' ')}, recall at 1"
            rows.append(f"| {label} | " + " | ".join(f"{s['retrieval'][caption][way]:.1%}" for s in splits) + " |")
    for change in splits[0]["twins"]:
        label = f"twins, {change.replace('_', ' ')}"
        rows.append(f"| {label} | " + " | ".join(f"{s['twins'][change]:.1%}" for s in splits) + " |")
    text, vision = training["text_config"], training["vision_config"]
    return CARD.format(
        parameters=training["parameters"] / 1e6,
        max_position_embeddings=text["max_position_embeddings"],
        vocab_size=f"{text['vocab_size']:,}",
        text_layers=text["num_hidden_layers"],
        text_width=text["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        vision_width=vision["hidden_size"],
        patch_size=vision["patch_size"],
        projection_dim=training["projection_dim"],
        n_scenes=training["n_scenes"],
        notes=notes(training),
        training_line=training_line(training),
        n_candidates=N_CANDIDATES,
        guess=1 / N_CANDIDATES,
        mean_dense_words=splits[0]["mean_dense_words"],
        rows="\n".join(rows),
    )


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
def main(run: Path, threads: int) -> None:
    """Evaluate both splits and write `evaluation.json` and the card."""
    torch.set_num_threads(threads)
    model = CLIPModel.from_pretrained(run / "model", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(run / "model")
    evaluation: dict[str, Any] = {split: evaluate(model, tokenizer, split) for split in SPLITS}
    (run / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n")
    card = model_card(json.loads((run / "training.json").read_text()), evaluation)
    (run / "model" / "README.md").write_text(card)
    click.echo(card)


if __name__ == "__main__":
    main()
