"""Embeddings and their nearest neighbours, with a small random encoder."""

from pathlib import Path

import numpy as np
import pytest

from llm4gen_data.densprompts.audit import semantic
from llm4gen_data.densprompts.audit.semantic import embed, nearest_cosines, semantic_figures
from llm4gen_data.errors import UserError


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "a", "red", "blue", "cup", "vase", "stands", "here", "."]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


def test_an_embedding_does_not_depend_on_its_batch(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["a red cup stands here .", "a vase .", "a blue blue blue vase stands here .", "a red cup stands here ."]
    together = embed(prompts, str(encoder))
    monkeypatch.setattr(semantic, "BATCH_SIZE", 1)
    np.testing.assert_allclose(together, embed(prompts, str(encoder)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    told = semantic_figures(prompts, together)
    assert told["n_too_near"] >= 2
    assert told["nearest_pairs"][0]["prompts"] == [prompts[0], prompts[3]]
    assert told["cosine_max"] == pytest.approx(1)


def test_nearest_cosines_in_blocks_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(57, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr(semantic, "BLOCK_ROWS", 10)
    cosines, others = nearest_cosines(vectors)
    full = vectors @ vectors.T
    np.fill_diagonal(full, -1)
    np.testing.assert_allclose(cosines, full.max(1), atol=1e-6)
    assert (others == full.argmax(1)).all()


def test_an_encoder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        embed(["a"], str(tmp_path))
