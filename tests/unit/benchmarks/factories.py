"""Image manifests as `generate` writes them, of pictures whose truth is known, and a CLIP of a few parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import torch
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from llm4gen_data.parquet import GENERATED_IMAGE_SCHEMA, PROMPT_SCHEMA, write_shard
from llm4gen_data.records import Prompt
from llm4gen_data.runs import sha256_file
from llm4gen_data.scenes.facts import facts_to_json, truth_facts
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, sample_scene

CONTEXT = 16
EOS = "<|endoftext|>"


def scenes(n: int, first_seed: int = 100) -> list[Scene]:
    return [sample_scene(first_seed + i) for i in range(n)]


def prompts_of(drawn: Sequence[Scene]) -> list[Prompt]:
    """A prompt a scene that states the whole truth; categories in turn."""
    prompts = []
    for i, scene in enumerate(drawn):
        text = " and ".join(" ".join(o.kind) for o in scene.objects)
        spec = facts_to_json(truth_facts(scene))
        prompts.append(Prompt(f"p{i:03d}", text, ("first", "second")[i % 2], len(text.split()), spec))
    return prompts


def write_manifest(
    folder: Path, prompts: Sequence[Prompt], pictures: Mapping[str, Sequence[Image.Image]], n_samples: int = 1
) -> Path:
    """`pictures`: for each model `n_samples` pictures a prompt, those of a prompt side by side."""
    rows = []
    for model, of_model in pictures.items():
        (folder / "images" / model).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(of_model):
            path = f"images/{model}/{i // n_samples:05d}-{i % n_samples}.png"
            picture.save(folder / path)
            prompt = prompts[i // n_samples]
            rows.append(
                {
                    "prompt_id": prompt.prompt_id,
                    "prompt": prompt.prompt,
                    "seed": i % n_samples,
                    "sample_index": i % n_samples,
                    "model": model,
                    "path": path,
                    "sha256": sha256_file(folder / path),
                }
            )
    write_rows(folder, rows)
    columns = ("prompt_id", "prompt", "category", "n_words", "spec")
    plain = [{name: getattr(prompt, name) for name in columns} for prompt in prompts]
    write_shard(folder / "prompts.parquet", pa.Table.from_pylist(plain, PROMPT_SCHEMA))
    return folder


def write_rows(folder: Path, rows: list[dict[str, object]]) -> None:
    write_shard(folder / "images.parquet", pa.Table.from_pylist(rows, GENERATED_IMAGE_SCHEMA))


def scene_manifest(folder: Path, n: int = 6) -> Path:
    """The model `true` draws what was asked, `shifted` what the next prompt asks."""
    drawn = scenes(n)
    pictures = [render(scene) for scene in drawn]
    return write_manifest(folder, prompts_of(drawn), {"true": pictures, "shifted": [*pictures[1:], pictures[0]]})


def tiny_clip(folder: Path, context: int = CONTEXT) -> Path:
    """A CLIPModel of random weights with a byte-level tokenizer; every letter is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{byte}</w>" for byte in alphabet), "<|startoftext|>", EOS]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=context)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    text = {**tower, **ids, "vocab_size": len(tokens), "max_position_embeddings": context}
    vision = {**tower, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    for parameter in model.parameters():
        if parameter.dim() > 1:  # CLIP's own start is so small that all texts are nearly alike
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    return folder


def tiny_head(path: Path, width: int) -> Path:
    """An aesthetic head of random weights, in the layers of the original."""
    widths = (width, 12, 10, 6, 4, 1)
    torch.manual_seed(1)
    tensors = {}
    for place, n_in, n_out in zip((0, 2, 4, 6, 7), widths[:-1], widths[1:], strict=True):
        tensors[f"layers.{place}.weight"], tensors[f"layers.{place}.bias"] = (
            torch.randn(n_out, n_in),
            torch.randn(n_out),
        )
    torch.save(tensors, path)
    return path
