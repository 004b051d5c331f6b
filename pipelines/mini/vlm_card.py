"""The model card of vlm-mini, filled in from what was trained and measured."""

from typing import Any

from pipelines.mini.vlm_telling import MAX_WORDS
from pipelines.mini.vlm_texts import N_DENSE, N_QUESTIONS

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

Vision tower 4 layers x {vision_width} (patches of 8 px), pixel shuffle by 2, Llama of {text_layers} layers x
{text_width} with tied embeddings, a byte-level vocabulary of {vocab_size} tokens in which every word of the
scenes' grammar is one token.

## Training

Trained from random weights on {n_scenes:,} scenes of the `train` split (seeds from 50,000,000, rendered
once; half of them re-compressed as JPEG of quality 75 to 100, one in ten blurred by up to 0.8 px), seed {seed},
finished {date}:

{stages}

Stage vision trains the vision tower to tell what stands in each image token (presence, place, shape, colour,
texture, size, background) through auxiliary heads, which are not part of the model. Stage caption trains
everything, in bfloat16 where autocast allows, on {n_dense} dense and one shorter caption of each scene, on
{n_questions} of its questions, and on a pair of twins: a relation with the objects or the word swapped, or a shape in
its color and in that of another object. The loss is on answers only, that of stage vision kept at a fifth.
Dense captions name all objects from left to right, with all attributes, then how each stands to those before
it: fewer ways to say it than the grammar of the scenes has, and all of them plain
(`pipelines/mini/vlm_telling.py`). A second auxiliary head reads off the text tower, at each word that names an object,
where that object is and what it is like, and at each word of a caption where the object is that will be named
next. Words for shapes, attributes, places and numbers weigh three times as much as wording, a yes or no eight
times.
{notes}
    python -m pipelines.mini.train_vlm --out runs/mini/vlm
    python -m pipelines.mini.evaluate_vlm runs/mini/vlm

## Measured

Greedy decoding in float32 by transformers on scenes with seeds from 90,000,000 that training never saw: {n}
of the `train` split, and {n} of the `unseen` split, each of which holds an attribute-shape pair that no
training scene holds. Facts are read from captions by `llm4gen_data.scenes.facts` and compared with the
scene (precision / recall / F1, facts of all scenes pooled).

{facts}

"relation" asks for every relation that holds by 12 px or more, told in so many words. "nameable relation" asks for
those between objects that words can tell apart (not two of equal kind), and counts what follows from what is told
(a left of b, b left of c: a left of c) as told, be it right or wrong. For comparison the same of captions that hold
nothing untrue, {split}: the grammar's own dense and medium captions, and the dense ones of its training. No
captioner that imitates them can tell more.

{ceilings}

| | {splits} |
|---|{dashes}|
{lengths}

Yes/no questions, share answered rightly (the answers are balanced, so guessing gives 50 %):

| kind | {splits} |
|---|{dashes}|
{questions}

Twins: two questions that look alike, one to be answered yes, the other no. Share of the questions answered rightly /
share of the pairs of which both are (guessing gives 50 % and 25 %, always yes 50 % and 0 %). *Words swapped*: about
one picture, the objects of a relation swapped or its word replaced by the opposite. The others ask the same words of
two pictures: a relation before and after the picture is mirrored; whether there is a shape in a color, before and
after two objects swap colors; how many objects there are, before and after one is removed.

| kind | {splits} |
|---|{dashes}|
{twins}

An unedited dense caption: "{example}"

## Limits

It knows nothing but these scenes; on photographs its output means nothing. Words that training never uses
(the held-out synonyms) are spelled in bytes and not understood. Pairs of attribute and shape that training never
showed cost it accuracy: compare the two splits. It tells fewer relations than hold: objects of equal kind, which no
words tell apart, are in none, and a caption ends before its {max_words} words are up.
"""


NAMEABLE = "nameable relation"
CEILINGS = {"dense": "the grammar's dense", "telling": "dense, of the training", "medium": "the grammar's medium"}


def fact_cell(caption: dict[str, Any], kind: str) -> str:
    """Precision, recall and F1 of a kind of fact."""
    measured = caption["nameable_relations"] if kind == NAMEABLE else caption["facts"][kind]
    return "{precision:.3f} / {recall:.3f} / {f1:.3f}".format(**measured) if measured["recall"] else "not told"


def model_card(training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return the card as Markdown from `training.json` and `evaluation.json`."""
    names = {"train": "train split", "unseen": "unseen split"}
    kinds = evaluation["train"]["captions"]["dense"]["facts"]
    facts = [
        "| fact | " + " | ".join(f"{c}, {names[s]}" for c in ("dense", "medium", "short") for s in evaluation) + " |"
    ]
    facts.append("|---|" + "---|" * (3 * len(evaluation)))
    for kind in (*kinds, NAMEABLE):
        cells = [
            fact_cell(split["captions"][caption], kind)
            for caption in ("dense", "medium", "short")
            for split in evaluation.values()
        ]
        facts.append(f"| {kind} | " + " | ".join(cells) + " |")
    told = evaluation["train"]["grammar"]
    ceilings = ["| fact | " + " | ".join(CEILINGS[name] for name in told) + " |", "|---|" + "---|" * len(told)]
    for kind in ("relation", NAMEABLE):
        ceilings.append(f"| {kind} | " + " | ".join(fact_cell(told[name], kind) for name in told) + " |")
    twins = [
        f"| {kind} | "
        + " | ".join(
            "{accuracy:.1%} / {both:.1%} of {pairs}".format(
                **split["twins"][kind], pairs=split["twins"][kind]["n"] // 2
            )
            if kind in split["twins"]
            else ""
            for split in evaluation.values()
        )
        + " |"
        for kind in evaluation["train"]["twins"]
    ]
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
        "- stage {name}: {steps:,} steps of {batch_size} scenes, {minutes:.0f} minutes, CPU threads {threads}, "
        "Muon for the matrices and "
        "AdamW for the rest, peak learning rates {learning_rates[0]:g} and {learning_rates[1]:g}, cosine".format(
            **stage
        )
        for stage in training["stages"]
    ]
    return CARD.format(
        **{key: training[key] for key in ("n_scenes", "seed", "date", "vision_width", "text_width", "text_layers")},
        notes="".join(f"\n{note}\n" for note in training.get("notes", [])),
        parameters=training["parameters"] / 1e6,
        vocab_size=training["vocab_size"],
        n=evaluation["train"]["n_scenes"],
        stages="\n".join(stages),
        facts="\n".join(facts),
        n_dense=N_DENSE,
        max_words=MAX_WORDS,
        n_questions=N_QUESTIONS,
        split=names["train"],
        ceilings="\n".join(ceilings),
        twins="\n".join(twins),
        splits=" | ".join(names[s] for s in evaluation),
        dashes="---|" * (len(evaluation) - 1) + "---",
        lengths="\n".join(lengths),
        questions="\n".join(questions),
        example=evaluation["train"]["captions"]["dense"]["captions"][0],
    )
