"""vlm-mini's texts: what is said and asked about a training scene, as tokens with labels and weights."""

import random
from collections.abc import Iterable, Sequence
from functools import cache
from multiprocessing import get_context
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from llm4gen_data.recaption.instructions import INSTRUCTIONS, QUESTION_SUFFIX
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.questions import questions
from llm4gen_data.scenes.sample import Scene, sample_scene
from llm4gen_data.scenes.vocabulary import SYNONYMS
from llm4gen_data.scenes.wording import plural
from pipelines.mini.vlm import branch
from pipelines.mini.vlm_asking import binding_questions, relation_questions
from pipelines.mini.vlm_batch import IGNORED, Text
from pipelines.mini.vlm_data import TRAIN_SEED
from pipelines.mini.vlm_grounding import CELL, NOTHING_MORE, Fact, facts_of
from pipelines.mini.vlm_telling import telling_caption

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
N_DENSE, N_QUESTIONS, SHORT_SHARE = 1, 2, 0.25


def vocabulary_texts(n: int, processes: int) -> list[str]:
    """Return all that the tokenizer must hold as whole words: what `n` scenes are told by, and the prompt itself."""
    seeds = range(TRAIN_SEED, TRAIN_SEED + n)
    with get_context("fork").Pool(processes) as pool:
        described = tqdm(pool.imap(_describe, seeds, chunksize=100), total=n, desc="describe", mininterval=5)
        texts = list(described)
    return every_text(texts)


def _describe(seed: int) -> dict[str, Any]:
    rng, scene = random.Random(seed), sample_scene(seed, split="train")
    return {
        "dense": dense_caption(scene, rng),
        "medium": medium_caption(scene, rng),
        "short": short_caption(scene, rng),
        "questions": [q.question for q in questions(scene, rng)],
    }


def every_text(texts: list[dict[str, Any]]) -> list[str]:
    """Return captions, questions, answers and instructions as they stand in a prompt."""
    said = [text[name] for text in texts for name in ASKED]
    asked = [question + QUESTION_SUFFIX for text in texts for question in text["questions"]]
    answered = [f" {text}" for text in [*said, "Yes", "No"]]
    return [*answered, *asked, *ASKED.values(), "User:", "Assistant:"]


def scene_texts(scene: Scene, rng: random.Random) -> list[tuple[str, str, float]]:
    """(instruction, answer, weight of its tokens): dense captions and a shorter one, questions, a pair of twins."""
    captions = [("dense", telling_caption(scene, rng)) for _ in range(N_DENSE)]
    if rng.random() < SHORT_SHARE:
        captions.append(("short", short_caption(scene, rng)))
    else:
        captions.append(("medium", medium_caption(scene, rng)))
    asked = [q for q in questions(scene, rng) if q.kind != "relation"]
    asked = rng.sample(asked, min(N_QUESTIONS, len(asked)))
    asked += relation_questions(scene, rng, 1) if rng.random() < 0.5 else binding_questions(scene, rng)
    told = [(ASKED[name], text, 1.0) for name, text in captions]
    return [*told, *((q.question + QUESTION_SUFFIX, q.answer.capitalize(), ANSWER_WEIGHT) for q in asked)]


def tokenize(rows: Iterable[tuple[int, Scene, str, str, float]], tokenizer: PreTrainedTokenizerFast) -> list[Text]:
    """Texts of (image, its scene, instruction, answer, weight), each word that names an object with its facts."""
    rows = list(rows)
    pairs = [branch(instruction, answer) for _, _, instruction, answer, _ in rows]
    encoded = tokenizer(
        [prompt + reply for prompt, reply in pairs], add_special_tokens=False, return_offsets_mapping=True
    )
    names = naming_tokens(tokenizer)
    texts = []
    for (image, scene, instruction, answer, weight), (prompt, _), ids, offsets in zip(
        rows, pairs, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        ends = [end for _, end in offsets]
        n_prompt = ends.index(len(prompt)) + 1
        reply = ids[n_prompt:]
        # The position before a token predicts it, so the answer's labels start at the prompt's last token.
        labels = [IGNORED] * (n_prompt - 1) + reply + [IGNORED]
        weights = [0.0] * (n_prompt - 1) + [weight * (NAMING_WEIGHT if i in names else 1.0) for i in reply] + [0.0]
        is_question = weight == ANSWER_WEIGHT
        told, start = (instruction, 0) if is_question else (answer, len(prompt) + 1)
        at = {end: position for position, end in enumerate(ends)}
        named = [
            (at[start + end], fact) for end, fact in facts_of(told, scene, may_lack=is_question) if start + end in at
        ]
        next_cells = [IGNORED] * len(ids) if is_question else cells_to_come(named, labels)
        texts.append(Text(image, ids, labels, weights, named, next_cells))
    return texts


def cells_to_come(named: Sequence[tuple[int, Fact]], labels: list[int]) -> list[int]:
    """For every position with a label the cell of what is named next behind it, NOTHING_MORE where nothing is."""
    cells, coming, left = [IGNORED] * len(labels), NOTHING_MORE, dict(named)
    for position in reversed(range(len(labels))):
        if labels[position] != IGNORED:
            cells[position] = coming
        if position in left:
            coming = int(left[position][CELL])
    return cells


@cache
def naming_tokens(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Ids of the words for shapes, colours, textures, sizes, places and numbers, in any case, singular or plural."""
    named = {word for synonyms in SYNONYMS.values() for word in " ".join(synonyms).split()}
    named |= {*MORE_NAMES.split()}
    named |= {plural(word) for word in named}
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return frozenset(index for token, index in vocabulary.items() if token.lstrip("Ġ").lower() in named)
