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
from llm4gen_data.scenes.describe import dense_caption, medium_caption
from llm4gen_data.scenes.questions import Question, questions
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, Split, sample_scene
from llm4gen_data.scenes.score import caption_scores, nameable_relation_score
from pipelines.mini.vlm import MAX_NEW_TOKENS, answer
from pipelines.mini.vlm_asking import twin_questions
from pipelines.mini.vlm_card import model_card
from pipelines.mini.vlm_telling import telling_caption
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
        "nameable_relations": score_nameable(scenes, captions),
        "mean_words": float(np.mean([len(caption.split()) for caption in captions])),
        "ended": float(np.mean([length < MAX_NEW_TOKENS for length in lengths])),
        "captions": captions,
    }


def score_nameable(scenes: list[Scene], captions: list[str]) -> dict[str, float]:
    """Precision and recall of the relations that words can tell, with what follows from what is told."""
    score = nameable_relation_score(scenes, captions)
    return {"precision": score.precision or 0.0, "recall": score.recall or 0.0, "f1": score.f1 or 0.0}


def score_facts(scenes: list[Scene], captions: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each kind of fact over all scenes together, 0 where nothing is told."""
    scores = caption_scores(scenes, captions).items()
    return {
        kind: {"precision": score.precision or 0.0, "recall": score.recall or 0.0, "f1": score.f1 or 0.0}
        for kind, score in scores
    }


def evaluate_questions(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, scenes: list[Scene]
) -> dict[str, dict[str, float]]:
    """Accuracy of yes/no answers by kind of question; an answer that is neither counts as wrong."""
    asked = [(question, scene) for scene in scenes for question in questions(scene, random.Random(scene.seed))]
    right = answers_right(model, processor, asked, "questions")
    return share_right([question.kind for question, _ in asked], right)


def evaluate_twins(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, scenes: list[Scene], split: Split
) -> dict[str, dict[str, float]]:
    """Accuracy on twins by kind, each question counted, and the share of pairs of which both are answered rightly."""
    twins = [twin for scene in scenes for twin in twin_questions(scene, random.Random(scene.seed), split)]
    right = answers_right(model, processor, [asked for twin in twins for asked in twin.asked], "twins")
    both = [first and second for first, second in zip(right[::2], right[1::2], strict=True)]
    kinds: list[str] = [twin.kind for twin in twins]
    pairs = share_right(kinds, both)
    single = share_right([kind for kind in kinds for _ in range(2)], right)
    return {kind: {**single[kind], "both": pairs[kind]["accuracy"]} for kind in single}


def answers_right(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    asked: list[tuple[Question, Scene]],
    name: str,
) -> list[bool]:
    """Whether each question about a scene is answered rightly."""
    right = []
    for first in trange(0, len(asked), BATCH_SIZE, desc=name):
        batch = asked[first : first + BATCH_SIZE]
        wanted = [question.question + QUESTION_SUFFIX for question, _ in batch]
        texts, _ = answer(model, processor, [render(scene) for _, scene in batch], wanted)
        right += [text.lower() == question.answer for (question, _), text in zip(batch, texts, strict=True)]
    return right


def share_right(kinds: list[str], right: list[bool]) -> dict[str, dict[str, float]]:
    """Accuracy and number by kind, and of all."""
    n_right: Counter[str] = Counter()
    n: Counter[str] = Counter()
    for one, is_right in zip(kinds, right, strict=True):
        for kind in (one, "all"):
            n[kind] += 1
            n_right[kind] += is_right
    return {kind: {"accuracy": n_right[kind] / n[kind], "n": n[kind]} for kind in sorted(n)}


def evaluate(folder: Path, n: int, split: Split) -> dict[str, Any]:
    """Evaluate the model in `folder` on `n` scenes of a split, in float32."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    scenes = [sample_scene(EVALUATION_SEED + i, split=split) for i in range(n)]
    # What captions tell that hold nothing untrue: the grammar's own, and those of it that training picks.
    ceilings = {
        "dense": [dense_caption(scene, random.Random(scene.seed)) for scene in scenes],
        "telling": [telling_caption(scene, random.Random(scene.seed)) for scene in scenes],
        "medium": [medium_caption(scene, random.Random(scene.seed)) for scene in scenes],
    }
    return {
        "n_scenes": n,
        "captions": {name: evaluate_captions(model, processor, scenes, name) for name in ASKED},
        "questions": evaluate_questions(model, processor, scenes),
        "twins": evaluate_twins(model, processor, scenes, split),
        "grammar": {
            name: {"facts": score_facts(scenes, told), "nameable_relations": score_nameable(scenes, told)}
            for name, told in ceilings.items()
        },
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
