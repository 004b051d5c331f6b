"""CLIP-FlanT5 a second time: random weights under the released names, and plain torch operations for T5."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import gelu
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerFast

WIDTH, HEADS, HEAD, INNER, DEPTH, WORDS, BUCKETS, DISTANCE = 16, 2, 6, 24, 2, 60, 8, 20
VISION_WIDTH, SIDE = 12, 32
VOCABULARY = ["<pad>", "</s>", "<unk>", "Yes", "No", *("abcdefghijklmnopqrstuvwxyz")]

Weights = dict[str, Tensor]


def write_model(folder: Path) -> Weights:
    """The released model's files of random weights, with a tokenizer in which a letter is a token, and CLIP beside."""
    torch.manual_seed(1)
    weights: Weights = {"shared.weight": torch.randn(WORDS, WIDTH), "lm_head.weight": torch.randn(WORDS, WIDTH)}
    for stack, kinds in (("encoder", ("SelfAttention",)), ("decoder", ("SelfAttention", "EncDecAttention"))):
        weights[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = torch.randn(BUCKETS, HEADS)
        weights[f"{stack}.final_layer_norm.weight"] = 1 + 0.1 * torch.randn(WIDTH)
        for i in range(DEPTH):
            for j, kind in enumerate((*kinds, "DenseReluDense")):
                layer = f"{stack}.block.{i}.layer.{j}"
                weights[f"{layer}.layer_norm.weight"] = 1 + 0.1 * torch.randn(WIDTH)
                if kind == "DenseReluDense":
                    shapes = {"wi_0": (INNER, WIDTH), "wi_1": (INNER, WIDTH), "wo": (WIDTH, INNER)}
                else:
                    shapes = {**dict.fromkeys("qkv", (HEADS * HEAD, WIDTH)), "o": (WIDTH, HEADS * HEAD)}
                for name, shape in shapes.items():
                    weights[f"{layer}.{kind}.{name}.weight"] = torch.randn(shape) * shape[1] ** -0.5
    for i, width in ((0, VISION_WIDTH), (2, WIDTH)):
        weights[f"mm_projector.{i}.weight"] = torch.randn(WIDTH, width) * width**-0.5
        weights[f"mm_projector.{i}.bias"] = torch.randn(WIDTH)
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    settings = {
        **{"model_type": "clip_t5", "d_model": WIDTH, "d_kv": HEAD, "d_ff": INNER, "num_layers": DEPTH},
        **{"num_heads": HEADS, "vocab_size": WORDS, "relative_attention_num_buckets": BUCKETS},
        **{"relative_attention_max_distance": DISTANCE, "feed_forward_proj": "gated-gelu"},
        **{"tie_word_embeddings": False, "mm_vision_select_layer": -2},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    letters = pre_tokenizers.Split(Regex("Yes|No|."), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), letters])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    vision = CLIPVisionConfig(
        **{"hidden_size": VISION_WIDTH, "intermediate_size": 20, "num_hidden_layers": 3, "num_attention_heads": 2},
        **{"image_size": SIDE, "patch_size": 16},
    )
    CLIPVisionModel(vision).save_pretrained(folder / "vision")
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    CLIPImageProcessorPil(**size).save_pretrained(folder / "vision")
    return weights


def projected(weights: Weights, states: Tensor) -> Tensor:
    """Patches [P, vision width] as T5 reads them."""
    hidden = gelu(states @ weights["mm_projector.0.weight"].T + weights["mm_projector.0.bias"])
    return hidden @ weights["mm_projector.2.weight"].T + weights["mm_projector.2.bias"]


def score(weights: Weights, embeds: Tensor, labels: list[int]) -> float:
    """exp(-mean cross-entropy) of the labels for one unpadded row of encoder embeddings [N, width]."""
    seen = _stack(weights, "encoder", embeds, None)
    states = _stack(weights, "decoder", weights["shared.weight"][[0, *labels[:-1]]], seen)
    log_p = (states @ weights["lm_head.weight"].T).log_softmax(-1)
    return math.exp(sum(log_p[i, label].item() for i, label in enumerate(labels)) / len(labels))


def _stack(weights: Weights, stack: str, x: Tensor, seen: Tensor | None) -> Tensor:
    table = weights[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    n, causal = len(x), stack == "decoder"
    bias = torch.stack([torch.stack([table[_bucket(k - q, causal)] for k in range(n)]) for q in range(n)])
    if causal:
        bias = bias.masked_fill(torch.ones(n, n).triu(1).bool()[..., None], -torch.inf)
    for i in range(DEPTH):
        block = f"{stack}.block.{i}.layer"
        x = x + _attention(weights, f"{block}.0", "SelfAttention", x, None, bias)
        if seen is not None:
            x = x + _attention(weights, f"{block}.1", "EncDecAttention", x, seen, torch.zeros(1))
        last = f"{block}.{1 if seen is None else 2}"
        hidden = _normed(weights[f"{last}.layer_norm.weight"], x)
        gate, value = (hidden @ weights[f"{last}.DenseReluDense.{name}.weight"].T for name in ("wi_0", "wi_1"))
        x = x + (gelu(gate, approximate="tanh") * value) @ weights[f"{last}.DenseReluDense.wo.weight"].T
    return _normed(weights[f"{stack}.final_layer_norm.weight"], x)


def _attention(weights: Weights, layer: str, kind: str, x: Tensor, seen: Tensor | None, bias: Tensor) -> Tensor:
    """T5 does not scale by the width of a head."""
    hidden = _normed(weights[f"{layer}.layer_norm.weight"], x)
    source = hidden if seen is None else seen
    q, k, v = (
        (y @ weights[f"{layer}.{kind}.{name}.weight"].T).reshape(-1, HEADS, HEAD)
        for name, y in (("q", hidden), ("k", source), ("v", source))
    )
    p = (torch.einsum("qhd,khd->qkh", q, k) + bias).softmax(dim=1)
    return torch.einsum("qkh,khd->qhd", p, v).flatten(1) @ weights[f"{layer}.{kind}.o.weight"].T


def _normed(weight: Tensor, x: Tensor) -> Tensor:
    return weight * x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()


def _bucket(offset: int, causal: bool) -> int:
    """Section 2.1 of the T5 paper: exact for near keys, logarithmic up to DISTANCE; both directions in the encoder."""
    n, first = (BUCKETS, 0) if causal else (BUCKETS // 2, BUCKETS // 2 if offset > 0 else 0)
    distance = max(0, -offset) if causal else abs(offset)
    exact = n // 2
    if distance < exact:
        return first + distance
    log = exact + int(math.log(distance / exact) / math.log(DISTANCE / exact) * (n - exact))
    return first + min(n - 1, log)
