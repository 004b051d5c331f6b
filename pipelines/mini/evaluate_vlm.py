"""Measure a trained vlm-mini on scenes it has never seen, and write its model card:

python -m pipelines.mini.evaluate_vlm runs/mini/vlm
"""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import trange
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
)

from llm4gen_data.recaption.instructions import QUESTION_SUFFIX
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.questions import questions
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, Split, sample_scene
from llm4gen_data.scenes.score import caption_scores
from pipelines.mini.vlm import MAX_NEW_TOKENS, answer
from pipelines.mini.vlm_card import model_card
from pipelines.mini.vlm_texts import ASKED

EVALUATION_SEED = 90_000_000
BATCH_SIZE = 100


def evaluate_captions(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, scenes: list[Scene], name: str
) -> dict[str, Any]:
    """Measure one kind of caption: precision and recall of its facts, mean words, the share that ends by itself."""
    captions, lengths = [], []
    for first in trange(0, len(scenes), BATCH_SIZE, desc=name):
        batch = scenes[first : first + BATCH_SIZE]
        texts, n_tokens = answer(model, processor, [render(s) for s in batch], [ASKED[name]] * len(batch))
        captions += texts
        lengths += n_tokens
    return {
        "facts": score_facts(scenes, captions),
        "mean_words": float(np.mean([len(caption.split()) for caption in captions])),
        "ended": float(np.mean([length < MAX_NEW_TOKENS for length in lengths])),
        "captions": captions,
    }


def score_facts(scenes: list[Scene], captions: list[str]) -> dict[str, dict[str, float]]:
    """Precision and recall of each kind of fact over all scenes together, 0 where nothing is told."""
    scores = caption_scores(scenes, captions).items()
    return {kind: {"precision": score.precision or 0.0, "recall": score.recall or 0.0} for kind, score in scores}


def evaluate_questions(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, scenes: list[Scene]
) -> dict[str, dict[str, float]]:
    """Accuracy of yes/no answers by kind of question; an answer that is neither counts as wrong."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for scene in (scenes[i] for i in trange(len(scenes), desc="questions")):
        asked_here = questions(scene, random.Random(scene.seed))
        texts, _ = answer(
            model,
            processor,
            [render(scene)] * len(asked_here),
            [q.question + QUESTION_SUFFIX for q in asked_here],
        )
        for question, text in zip(asked_here, texts, strict=True):
            for kind in (question.kind, "all"):
                asked[kind] += 1
                right[kind] += text.lower() == question.answer
    return {kind: {"accuracy": right[kind] / asked[kind], "n": asked[kind]} for kind in sorted(asked)}


def evaluate(folder: Path, n: int, split: Split) -> dict[str, Any]:
    """Evaluate the model in `folder` on `n` scenes of a split, in float32."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    scenes = [sample_scene(EVALUATION_SEED + i, split=split) for i in range(n)]
    return {
        "n_scenes": n,
        "captions": {name: evaluate_captions(model, processor, scenes, name) for name in ASKED},
        "questions": evaluate_questions(model, processor, scenes),
        "grammar": score_facts(scenes, [dense_caption(s, random.Random(s.seed)) for s in scenes]),
    }


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--n", default=300, show_default=True, help="Scenes of each split.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; so small a model gains nothing from more.")
def main(run: Path, n: int, threads: int) -> None:
    """Evaluate both splits and write `evaluation.json` and the card."""
    torch.set_num_threads(threads)
    splits: tuple[Split, ...] = ("train", "unseen")
    evaluation: dict[str, Any] = {split: evaluate(run / "model", n, split) for split in splits}
    (run / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n")
    card = model_card(json.loads((run / "training.json").read_text()), evaluation)
    (run / "model" / "README.md").write_text(card)
    click.echo(card)


if __name__ == "__main__":
    main()
