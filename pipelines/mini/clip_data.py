"""clip-mini's texts: what is said of each training scene, as token ids."""

import random
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformers import CLIPTokenizer

from llm4gen_data.scenes.alt_text import alt_text
from llm4gen_data.scenes.describe import dense_caption, medium_caption, short_caption
from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini.clip import CONTEXT_TOKENS
from pipelines.mini.vlm_data import TRAIN_SEED

# Kinds of texts in the order of `texts_of`, and how often each is drawn in training.
TEXT_KINDS = ("short", "short", "medium", "medium", "dense", "alt text")
TEXT_WEIGHTS = (0.18, 0.18, 0.22, 0.22, 0.15, 0.05)


def texts_of(seed: int) -> list[str]:
    """Return the texts of the training scene of a seed, one for each of `TEXT_KINDS`."""
    scene, rng = sample_scene(seed, split="train"), random.Random(f"clip-{seed}")
    captions = [write(scene, rng) for write in (short_caption, medium_caption) for _ in range(2)]
    return [*captions, dense_caption(scene, rng), alt_text(scene, rng)]


def vocabulary_texts(n: int, processes: int) -> list[str]:
    """Return all texts of `n` scenes but the alt texts, to learn the tokenizer's merges from."""
    with get_context("fork").Pool(processes) as pool:
        described = pool.imap(texts_of, range(TRAIN_SEED, TRAIN_SEED + n), chunksize=100)
        return [text for texts in described for text in texts[:-1]]


def encode(tokenizer: CLIPTokenizer, texts: list[str]) -> np.ndarray:
    """Return token ids `[N,32]`, cut or padded, as the pipelines of diffusers encode a prompt."""
    ids = tokenizer(texts, padding="max_length", max_length=CONTEXT_TOKENS, truncation=True)["input_ids"]
    return np.asarray(ids, dtype=np.int16)


def write_tokens(path: Path, tokenizer: CLIPTokenizer, n: int, processes: int) -> None:
    """Write `[N, len(TEXT_KINDS), 32]` int16 token ids of `n` training scenes; a finished file is left as it is."""
    if path.exists():
        return
    with get_context("fork").Pool(processes) as pool:
        described = pool.imap(texts_of, range(TRAIN_SEED, TRAIN_SEED + n), chunksize=100)
        texts = list(tqdm(described, total=n, desc="describe", mininterval=5))
    tokens = [encode(tokenizer, list(kind)) for kind in zip(*texts, strict=True)]
    partial_path = path.with_suffix(".partial.npy")
    np.save(partial_path, np.stack(tokens, axis=1))
    partial_path.replace(path)


def draw_tokens(tokens: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
    """Return one text of each scene `[B,32]`, its kind drawn by `TEXT_WEIGHTS`; equal arguments, equal texts."""
    rng = np.random.default_rng((seed, *indices[[0, -1]]))
    kinds = rng.choice(len(TEXT_KINDS), size=len(indices), p=TEXT_WEIGHTS)
    drawn: np.ndarray = tokens[indices, kinds].astype(np.int64)
    return drawn
