"""vlm-mini's texts: what is said and asked about a training scene, packed into rows behind their image."""

import random
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from llm4gen_data.recaption.instructions import INSTRUCTIONS, QUESTION_SUFFIX
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.questions import questions
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import SYNONYMS
from llm4gen_data.scenes.wording import plural
from pipelines.mini.vlm import IMAGE_PREFIX, branch
from pipelines.mini.vlm_data import TRAIN_SEED

IGNORED = -100  # cross_entropy's ignore_index
# What tokens weigh in the loss. A yes or no would drown among a caption's hundred tokens, and so would the words
# that can only be had from the picture among those of mere wording.
ANSWER_WEIGHT, NAMING_WEIGHT = 8.0, 3.0
# The lengths in which a scene is told, and what the captioner is asked for each.
ASKED = {
    "dense": INSTRUCTIONS["paper"].text,
    "medium": INSTRUCTIONS["medium"].text,
    "short": INSTRUCTIONS["short"].text,
}
MORE_NAMES = (
    "left right above below beneath over under top bottom upper lower middle center corner one two three four "
    "stripe band dot spot check checkerboard rim outline pattern mark"
)

Branch = tuple[str, str, float]  # rest of the prompt behind the image, answer, weight of the answer's tokens


def vocabulary_texts(n: int, processes: int) -> list[str]:
    """Return all that the tokenizer must hold as whole words: what `n` scenes are told by, and the prompt itself."""
    seeds = range(TRAIN_SEED, TRAIN_SEED + n)
    with get_context("fork").Pool(processes) as pool:
        described = tqdm(pool.imap(_describe, seeds, chunksize=100), total=n, desc="describe", mininterval=5)
        texts = list(described)
    return every_text(texts)


def _describe(seed: int) -> dict[str, Any]:
    return describe(seed, random.Random(seed))


def describe(seed: int, rng: random.Random) -> dict[str, Any]:
    """Tell a training scene: its captions, by the names of `ASKED`, and its `questions`."""
    scene = sample_scene(seed, split="train")
    return {
        "dense": dense_caption(scene, rng),
        "medium": medium_caption(scene, rng),
        "short": short_caption(scene, rng),
        "questions": [{"question": q.question, "answer": q.answer} for q in questions(scene, rng)],
    }


def every_text(texts: list[dict[str, Any]]) -> list[str]:
    """Return captions, questions, answers and instructions as they stand in a prompt."""
    said = [text[name] for text in texts for name in ASKED]
    asked = [q["question"] + QUESTION_SUFFIX for text in texts for q in text["questions"]]
    answered = [f" {text}" for text in [*said, "Yes", "No"]]
    return [*answered, *asked, *ASKED.values(), "User:", "Assistant:"]


def scene_branches(text: dict[str, Any], rng: random.Random, n_questions: int) -> list[list[Branch]]:
    """Return a scene's two rows: the dense caption; the other captions and some of the questions."""
    captions = {name: (*branch(asked, text[name]), 1.0) for name, asked in ASKED.items()}
    asked = rng.sample(text["questions"], min(n_questions, len(text["questions"])))
    answers = [(*branch(q["question"] + QUESTION_SUFFIX, q["answer"].capitalize()), ANSWER_WEIGHT) for q in asked]
    return [[captions["dense"]], [captions["medium"], captions["short"], *answers]]


@cache
def naming_tokens(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Ids of the words for shapes, colours, textures, sizes, places and numbers, in any case, singular or plural."""
    named = {word for synonyms in SYNONYMS.values() for word in " ".join(synonyms).split()}
    named |= {*MORE_NAMES.split()}
    named |= {plural(word) for word in named}
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return frozenset(index for token, index in vocabulary.items() if token.lstrip("Ġ").lower() in named)


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """Rows of several texts behind one image; each text sees the image and itself, exactly as at inference.

    `image_index [R]` into the batch's images, `input_ids [R,L]`, `position_ids [R,L]`, `attention_mask [R,1,L,L]`
    (bool, True = may look at), `labels [R,L]` (the next token, `IGNORED` outside answers), `weights [R,L]`.
    """

    image_index: torch.Tensor
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


def pack(rows: list[tuple[int, list[Branch]]], tokenizer: PreTrainedTokenizerFast) -> PackedTexts:
    """Pack rows of (image index, texts) into padded tensors; the prefix with the image stands once a row."""
    prefix: list[int] = tokenizer(IMAGE_PREFIX, add_special_tokens=False)["input_ids"]
    flat = [text for _, branches in rows for prompt, answer, _ in branches for text in (prompt, answer)]
    encoded = iter(tokenizer(flat, add_special_tokens=False)["input_ids"])
    names = naming_tokens(tokenizer)
    packed = []
    for _, branches in rows:
        ids, segments, positions = list(prefix), [0] * len(prefix), list(range(len(prefix)))
        labels, weights = [IGNORED] * len(prefix), [0.0] * len(prefix)
        for segment, (_, _, weight) in enumerate(branches, start=1):
            prompt, answer = next(encoded), next(encoded)
            length = len(prompt) + len(answer)
            ids += prompt + answer
            segments += [segment] * length
            positions += range(len(prefix), len(prefix) + length)
            # The position before a token predicts it, so the answer's labels start at the prompt's last token.
            labels += [IGNORED] * (len(prompt) - 1) + answer + [IGNORED]
            weights += [weight] * (len(prompt) - 1)
            weights += [weight * (NAMING_WEIGHT if token in names else 1.0) for token in answer] + [weight]
        packed.append((ids, segments, positions, labels, weights))
    length = max(len(row[0]) for row in packed)
    fills = (tokenizer.pad_token_id, -1, 0, IGNORED, 0.0)
    columns = [
        torch.tensor([row[column] + [fill] * (length - len(row[column])) for row in packed])
        for column, fill in enumerate(fills)
    ]
    input_ids, row_segments, position_ids, label_ids, answer_weights = columns
    same_text = row_segments[:, :, None] == row_segments[:, None, :]
    behind_image = row_segments[:, None, :] == 0
    visible = (same_text | behind_image) & torch.ones(length, length, dtype=torch.bool).tril()
    image_index = torch.tensor([index for index, _ in rows])
    return PackedTexts(image_index, input_ids, position_ids, visible[:, None], label_ids, answer_weights)
