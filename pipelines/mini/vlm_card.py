"""The model card of vlm-mini, filled in from what was trained and measured."""

from typing import Any

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [idefics3, smolvlm, vision-language, captioning, synthetic]
---

# vlm-mini

A vision-language captioner of {parameters:.2f} million parameters in the Idefics3/SmolVLM architecture. It
describes the procedurally drawn 64-pixel scenes of `llm4gen_data.scenes` and answers yes/no questions about
them. It stands in for a large captioner (LLaVA, Qwen-VL) wherever the re-captioning pipeline must run
without a GPU and without a model hub, and it loads and serves the same way: `AutoProcessor` /
`AutoModelForImageTextToText` in transformers, `LLM` / `AsyncLLM` in vLLM.

## Use

Compute in float32 (`dtype="float32"` in vLLM); the weights are stored in float16. Greedy decoding, at most
160 new tokens. Images of any size are resized to 64 x 64 pixels and become 16 image tokens. The
instructions it was trained on are those of `llm4gen_data/recaption/instructions.py`, word for word:

| name | instruction | answer |
|---|---|---|
| dense | Detail this image using more than 50 words, specifying the main objects and their relationship. | 50+ words |
| medium | Describe this image in two sentences. | one or two sentences |
| short | Describe this image briefly. | one clause |
| question | *a yes/no question* Answer yes or no. | Yes or No |

## Architecture

Vision tower 4 layers x {vision_width} (patches of 8 px), pixel shuffle by 2, Llama of 4 layers x
{text_width} with tied embeddings, a byte-level vocabulary of {vocab_size} tokens in which every word of the
scenes' grammar is one token.

## Training

Trained from random weights on {n_scenes:,} scenes of the `train` split (seeds from 50,000,000, rendered
once; half of them re-compressed as JPEG of quality 75 to 100, one in ten blurred by up to 0.8 px) on
{threads} CPU threads, {date}, seed {seed}:

{stages}

Stage one trains the vision tower to tell what stands in each image token (presence, place, shape, colour,
texture, size, background) through auxiliary heads, which are not part of the model. Stage two trains
everything on each scene's dense, medium and short caption and four of its questions, the loss on answers
only, stage one's loss kept at a tenth. Words for shapes, attributes, places and
numbers weigh three times as much as wording, a yes or no eight times.
{notes}
    python -m pipelines.mini.train_vlm --out runs/mini/vlm
    python -m pipelines.mini.evaluate_vlm runs/mini/vlm

## Measured

Greedy decoding in float32 by transformers on scenes with seeds from 90,000,000 that training never saw: {n}
of the `train` split, and {n} of the `unseen` split, each of which holds an attribute-shape pair that no
training scene holds. Facts are read from captions by `llm4gen_data.scenes.facts` and compared with the
scene (precision / recall).

{facts}

No caption tells every relation that holds: of all of them, the grammar's own dense captions, which are what it
learned from, tell {relation_recall:.3f} (recall).

| | {splits} |
|---|{dashes}|
{lengths}

Yes/no questions, share answered rightly (the answers are balanced, so guessing gives 50 %):

| kind | {splits} |
|---|{dashes}|
{questions}

An unedited dense caption: "{example}"

## Limits

It knows nothing but these scenes; on photographs its output means nothing. Words that training never uses
(the held-out synonyms) are spelled in bytes and not understood. Where objects stand to each other it hardly
knows: see the rows on relations, where guessing gives 50 %. Dense captions, in which attributes are told far
from their object and by reference ("the former", "its neighbor"), bind them less surely than medium ones, and
pairs of attribute and shape that training never showed cost more accuracy still.
"""


def model_card(training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return the card as Markdown from `training.json` and `evaluation.json`."""
    names = {"train": "train split", "unseen": "unseen split"}
    kinds = evaluation["train"]["captions"]["dense"]["facts"]
    facts = [
        "| fact | " + " | ".join(f"{c}, {names[s]}" for c in ("dense", "medium", "short") for s in evaluation) + " |"
    ]
    facts.append("|---|" + "---|" * (3 * len(evaluation)))
    for kind in kinds:
        cells = []
        for caption in ("dense", "medium", "short"):
            for split in evaluation.values():
                measured = split["captions"][caption]["facts"].get(kind)
                cells.append(
                    f"{measured['precision']:.3f} / {measured['recall']:.3f}"
                    if measured and measured["recall"]
                    else "not told"
                )
        facts.append(f"| {kind} | " + " | ".join(cells) + " |")
    lengths = [
        f"| {caption}: {label} | "
        + " | ".join(form.format(split["captions"][caption][key]) for split in evaluation.values())
        + " |"
        for caption in ("dense", "medium", "short")
        for key, label, form in (("mean_words", "mean words", "{:.1f}"), ("ended", "ends by itself", "{:.1%}"))
    ]
    questions = [
        f"| {kind} | "
        + " | ".join(
            "{accuracy:.1%} of {n}".format(**split["questions"][kind]) if kind in split["questions"] else ""
            for split in evaluation.values()
        )
        + " |"
        for kind in evaluation["train"]["questions"]
    ]
    stages = [
        "- stage {name}: {steps:,} steps of {batch_size} scenes, {minutes:.0f} minutes, Muon for the matrices and "
        "AdamW for the rest, peak learning rates {learning_rates[0]:g} and {learning_rates[1]:g}, cosine".format(
            **stage
        )
        for stage in training["stages"]
    ]
    return CARD.format(
        **{key: training[key] for key in ("n_scenes", "threads", "seed", "date", "vision_width", "text_width")},
        notes="".join(f"\n{note}\n" for note in training.get("notes", [])),
        parameters=training["parameters"] / 1e6,
        vocab_size=training["vocab_size"],
        n=evaluation["train"]["n_scenes"],
        stages="\n".join(stages),
        facts="\n".join(facts),
        relation_recall=evaluation["train"]["grammar"]["relation"]["recall"],
        splits=" | ".join(names[s] for s in evaluation),
        dashes="---|" * (len(evaluation) - 1) + "---",
        lengths="\n".join(lengths),
        questions="\n".join(questions),
        example=evaluation["train"]["captions"]["dense"]["captions"][0],
    )
