"""BLIP-VQA a second time: random weights under the original's names, and its arithmetic in plain torch operations."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear

VOCABULARY, YES, NO = 30524, 2748, 2053
WORDS = ("a", "red", "cube", "blue", "ball", "?")  # ids from 1 on
HEADS, DEPTH, VISION, TEXT, PATCH, IMAGE = 2, 2, 24, 16, 8, 32

Weights = dict[str, Tensor]


def random_checkpoint(seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    weights: Weights = {
        "visual_encoder.cls_token": torch.randn(1, 1, VISION),
        "visual_encoder.pos_embed": torch.randn(1, (IMAGE // PATCH) ** 2 + 1, VISION),
        "visual_encoder.patch_embed.proj.weight": torch.randn(VISION, 3, PATCH, PATCH) * 0.1,
        "visual_encoder.patch_embed.proj.bias": torch.randn(VISION),
        **_norm("visual_encoder.norm", VISION),
    }
    for i in range(DEPTH):
        block = f"visual_encoder.blocks.{i}"
        weights |= _norm(f"{block}.norm1", VISION) | _norm(f"{block}.norm2", VISION)
        weights |= _linear(f"{block}.attn.qkv", VISION, 3 * VISION) | _linear(f"{block}.attn.proj", VISION, VISION)
        weights |= _linear(f"{block}.mlp.fc1", VISION, 3 * VISION) | _linear(f"{block}.mlp.fc2", 3 * VISION, VISION)
    for bert in ("text_encoder", "text_decoder.bert"):
        weights[f"{bert}.embeddings.position_ids"] = torch.arange(40)[None]
        weights[f"{bert}.embeddings.word_embeddings.weight"] = torch.randn(VOCABULARY, TEXT) * 0.3
        weights[f"{bert}.embeddings.position_embeddings.weight"] = torch.randn(40, TEXT) * 0.3
        weights |= _norm(f"{bert}.embeddings.LayerNorm", TEXT)
        for i in range(DEPTH):
            layer = f"{bert}.encoder.layer.{i}"
            for name in ("attention", "crossattention"):
                seen = VISION if name == "crossattention" and bert == "text_encoder" else TEXT
                weights |= _linear(f"{layer}.{name}.self.query", TEXT, TEXT)
                weights |= _linear(f"{layer}.{name}.self.key", seen, TEXT)
                weights |= _linear(f"{layer}.{name}.self.value", seen, TEXT)
                weights |= _linear(f"{layer}.{name}.output.dense", TEXT, TEXT)
                weights |= _norm(f"{layer}.{name}.output.LayerNorm", TEXT)
            weights |= _linear(f"{layer}.intermediate.dense", TEXT, 2 * TEXT)
            weights |= _linear(f"{layer}.output.dense", 2 * TEXT, TEXT) | _norm(f"{layer}.output.LayerNorm", TEXT)
    head = "text_decoder.cls.predictions"
    weights |= _linear(f"{head}.transform.dense", TEXT, TEXT) | _norm(f"{head}.transform.LayerNorm", TEXT)
    weights[f"{head}.bias"] = weights[f"{head}.decoder.bias"] = torch.randn(VOCABULARY) * 0.1
    weights[f"{head}.decoder.weight"] = weights["text_decoder.bert.embeddings.word_embeddings.weight"]
    return weights


def write_original(folder: Path, weights: Weights) -> tuple[Path, Path]:
    """A checkpoint in the original's layout and the vocab.txt of a BERT that knows the words in WORDS."""
    torch.save({"model": weights}, folder / "blip.pth")
    words = [f"[unused{i}]" for i in range(VOCABULARY - 2)]
    for i, word in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}.items():
        words[i] = word
    words[1 : 1 + len(WORDS)] = WORDS
    words[YES], words[NO] = "yes", "no"
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder / "blip.pth", folder / "vocab.txt"


def yes_probability(weights: Weights, pixels: Tensor, question_ids: list[list[int]]) -> list[float]:
    """P("yes") / (P("yes") + P("no")) of one unpadded question about each image [3,H,W], the first token [ENC]."""
    return [_one(weights, image, ids) for image, ids in zip(pixels, question_ids, strict=True)]


def _one(weights: Weights, image: Tensor, ids: list[int]) -> float:
    seen = _image_states(weights, image)
    question = _bert(weights, "text_encoder", [VOCABULARY - 1, *ids[1:]], seen)
    state = _bert(weights, "text_decoder.bert", [VOCABULARY - 2], question)[0]
    head = "text_decoder.cls.predictions"
    hidden = _normed(weights, f"{head}.transform.LayerNorm", gelu(_applied(weights, f"{head}.transform.dense", state)))
    p = (_applied(weights, f"{head}.decoder", hidden)).softmax(dim=-1)
    return (p[YES] / (p[YES] + p[NO])).item()


def _image_states(weights: Weights, image: Tensor) -> Tensor:
    name = "visual_encoder.patch_embed.proj"
    patches = conv2d(image[None], weights[f"{name}.weight"], weights[f"{name}.bias"], stride=PATCH)[0].flatten(1).T
    x = torch.cat([weights["visual_encoder.cls_token"][0], patches]) + weights["visual_encoder.pos_embed"][0]
    for i in range(DEPTH):
        block = f"visual_encoder.blocks.{i}"
        q, k, v = _applied(weights, f"{block}.attn.qkv", _normed(weights, f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + _applied(weights, f"{block}.attn.proj", _attention(q, k, v))
        inner = gelu(_applied(weights, f"{block}.mlp.fc1", _normed(weights, f"{block}.norm2", x, 1e-6)))
        x = x + _applied(weights, f"{block}.mlp.fc2", inner)
    return _normed(weights, "visual_encoder.norm", x, 1e-6)


def _bert(weights: Weights, bert: str, ids: list[int], seen: Tensor) -> Tensor:
    words, places = (weights[f"{bert}.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position"))
    x = _normed(weights, f"{bert}.embeddings.LayerNorm", words[ids] + places[: len(ids)])
    for i in range(DEPTH):
        layer = f"{bert}.encoder.layer.{i}"
        for name, looked_at in (("attention", None), ("crossattention", seen)):
            source = x if looked_at is None else looked_at
            q = _applied(weights, f"{layer}.{name}.self.query", x)
            k, v = (_applied(weights, f"{layer}.{name}.self.{part}", source) for part in ("key", "value"))
            mixed = _applied(weights, f"{layer}.{name}.output.dense", _attention(q, k, v))
            x = _normed(weights, f"{layer}.{name}.output.LayerNorm", mixed + x)
        inner = gelu(_applied(weights, f"{layer}.intermediate.dense", x))
        x = _normed(weights, f"{layer}.output.LayerNorm", _applied(weights, f"{layer}.output.dense", inner) + x)
    return x


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    heads = zip(*(x.chunk(HEADS, dim=-1) for x in (q, k, v)), strict=True)
    return torch.cat([(a @ b.T / math.sqrt(a.shape[-1])).softmax(dim=-1) @ c for a, b, c in heads], dim=-1)


def _applied(weights: Weights, name: str, x: Tensor) -> Tensor:
    return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _normed(weights: Weights, name: str, x: Tensor, eps: float = 1e-12) -> Tensor:
    return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)


def _linear(name: str, n_in: int, n_out: int) -> Weights:
    return {f"{name}.weight": torch.randn(n_out, n_in) * n_in**-0.5, f"{name}.bias": torch.randn(n_out) * 0.1}


def _norm(name: str, width: int) -> Weights:
    return {f"{name}.weight": 1 + 0.1 * torch.randn(width), f"{name}.bias": 0.1 * torch.randn(width)}
