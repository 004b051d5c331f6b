"""clip-mini: tokenizer, processor and configuration of a 0.7 M parameter CLIP for scenes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from pipelines.mini.vlm import IMAGE_SIZE_PX, PATCH_SIZE_PX

# BOS and EOS included: names and attributes of a short or medium caption fit, a dense caption does not.
CONTEXT_TOKENS = 32
TEXT_WIDTH, VISION_WIDTH, PROJECTION_WIDTH = 96, 96, 64
VOCAB_SIZE = 1024
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(texts: Iterable[str], vocab_size: int = VOCAB_SIZE) -> CLIPTokenizer:
    """Build CLIP's lower-casing byte-level BPE with merges learned from `texts`.

    As in CLIP, the vocabulary is all bytes, all bytes that end a word, the merges, and the two special tokens last,
    so that any text can be spelled.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*alphabet, *(f"{byte}</w>" for byte in alphabet)]
    n_merges = vocab_size - len(vocabulary) - 2

    blank = CLIPTokenizer()._tokenizer  # brings CLIP's normalizer and its way of splitting words
    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=2 * vocab_size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"][:n_merges]]

    vocabulary += [left + right for left, right in merges]
    ids = {token: index for index, token in enumerate([*vocabulary, BOS, EOS])}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=CONTEXT_TOKENS)


def build_processor(tokenizer: CLIPTokenizer) -> CLIPProcessor:
    """Build the processor: images are resized and cropped to 64 x 64 px and scaled to -1..1."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE_PX},
        crop_size={"height": IMAGE_SIZE_PX, "width": IMAGE_SIZE_PX},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return CLIPProcessor(image_processor, tokenizer)


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Build the model with random weights: a text tower of 4 layers, an image tower of 3, 4 heads each."""
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    tower: dict[str, Any] = {"num_attention_heads": 4, "projection_dim": PROJECTION_WIDTH, "dtype": "float32"}
    text = {
        "hidden_size": TEXT_WIDTH,
        "num_hidden_layers": 4,
        "intermediate_size": 2 * TEXT_WIDTH,
        "max_position_embeddings": CONTEXT_TOKENS,
        "vocab_size": len(tokenizer),
        **tower,
        **ids,
    }
    vision = {
        "hidden_size": VISION_WIDTH,
        "num_hidden_layers": 3,
        "intermediate_size": 2 * VISION_WIDTH,
        "image_size": IMAGE_SIZE_PX,
        "patch_size": PATCH_SIZE_PX,
        **tower,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION_WIDTH))


def export(model: CLIPModel, processor: CLIPProcessor, folder: Path) -> None:
    """Write the Hugging Face folder: weights in float16, and float32 in the config as the type to compute in."""
    model.save_pretrained(folder, state_dict={name: tensor.half() for name, tensor in model.state_dict().items()})
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # readers older than transformers 5 look for this file
