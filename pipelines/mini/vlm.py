"""vlm-mini: tokenizer, processor, configuration and prompt of a 1.3 M parameter Idefics3 for scenes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

IMAGE_SIZE_PX = 64
PATCH_SIZE_PX = 8
SCALE_FACTOR = 2  # pixel shuffle: 2 x 2 patches become one image token of 16 x 16 pixels
GRID_SIZE = IMAGE_SIZE_PX // (PATCH_SIZE_PX * SCALE_FACTOR)
IMAGE_SEQ_LEN = GRID_SIZE**2
TEXT_LAYERS = 6
MAX_NEW_TOKENS = 160

PAD, BOS, EOS = "<|endoftext|>", "<|im_start|>", "<end_of_utterance>"
IMAGE, FAKE_IMAGE, GLOBAL_IMAGE = "<image>", "<fake_token_around_image>", "<global-img>"
SPECIAL_TOKENS = (PAD, BOS, EOS, IMAGE, FAKE_IMAGE, GLOBAL_IMAGE)

# SmolVLM's template, word for word: what serves SmolVLM serves this model.
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
IMAGE_PREFIX = f"{BOS}User:{FAKE_IMAGE}{GLOBAL_IMAGE}{IMAGE * IMAGE_SEQ_LEN}{FAKE_IMAGE}"


def branch(instruction: str, answer: str) -> tuple[str, str]:
    """Return what follows the image in the chat template: the rest of the prompt, and the answer to learn."""
    return f"{instruction}{EOS}\nAssistant:", f" {answer}{EOS}"


def build_tokenizer(texts: Iterable[str], *, min_count: int = 1) -> PreTrainedTokenizerFast:
    """Build a byte-level tokenizer whose every word of `texts` is one token; any other text falls back to bytes.

    A BPE model with `ignore_merges` looks a whole word up first; without merges the rest is spelled in bytes.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    frequent = [word for word, count in sorted(words.items()) if count >= min_count and len(word) > 1]
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet, *frequent])}

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, FAKE_IMAGE, GLOBAL_IMAGE],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Build the processor: images are resized to 64 x 64 px, never split, and scaled to -1..1."""
    image_processor = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size={"longest_edge": IMAGE_SIZE_PX},
        max_image_size={"longest_edge": IMAGE_SIZE_PX},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return Idefics3Processor(image_processor, tokenizer, image_seq_len=IMAGE_SEQ_LEN, chat_template=CHAT_TEMPLATE)


def build_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """Build the model with random weights: a 4 x 128 vision tower and a 6 x 128 Llama with tied embeddings."""
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE_PX,
        "patch_size": PATCH_SIZE_PX,
    }
    text: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 224,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,  # head size 32 is the smallest that vLLM's CPU attention supports
        "max_position_embeddings": 512,
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        **ids,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=SCALE_FACTOR,
        tie_word_embeddings=True,
        **ids,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=MAX_NEW_TOKENS, **ids)
    return model


def export(model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, folder: Path) -> None:
    """Write the Hugging Face folder: weights in float16, and float32 in the config as the type to compute in.

    They are rounded to bfloat16's digits, in which training multiplied them: the file packs a sixth smaller.
    """
    weights = {name: w.bfloat16().half() for name, w in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # readers older than transformers 5 look for this file


@torch.inference_mode()
def answer(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    images: list[Image.Image],
    instructions: list[str],
) -> tuple[list[str], list[int]]:
    """Answer each instruction about its image by greedy decoding; return answers and their lengths in tokens."""
    prompts = []
    for instruction in instructions:
        content = [{"type": "image"}, {"type": "text", "text": instruction}]
        message = {"role": "user", "content": content}
        prompts.append(processor.apply_chat_template([message], add_generation_prompt=True))
    inputs = processor(text=prompts, images=[[image] for image in images], padding=True, return_tensors="pt")
    tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
    answers = processor.batch_decode(tokens, skip_special_tokens=True)
    lengths = (tokens != processor.tokenizer.pad_token_id).sum(dim=1)
    return [text.strip() for text in answers], lengths.tolist()
