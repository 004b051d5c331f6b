"""ImageReward's file against an evaluation written out here from its tensors, in plain operations."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertTokenizer

from benchmarks.metrics.image_reward import MEAN, STD, ImageReward, load_image_reward
from benchmarks.metrics.metric import load_metric
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture

WIDTH, TEXT_WIDTH, PATCH, GRID, HEADS = 32, 24, 8, 3, 4
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "[DEC]", "[ENC]"]
LAYERS = {0: (TEXT_WIDTH, 12), 2: (12, 10), 4: (10, 6), 6: (6, 4), 7: (4, 1)}
State = dict[str, Tensor]


def reward_state() -> State:
    """Random weights under the original's names, two layers a tower."""
    torch.manual_seed(0)
    v, t = "blip.visual_encoder.", "blip.text_encoder."
    shapes: dict[str, tuple[int, ...]] = {
        f"{v}cls_token": (1, 1, WIDTH),
        f"{v}pos_embed": (1, GRID**2 + 1, WIDTH),
        f"{t}embeddings.word_embeddings.weight": (len(WORDS), TEXT_WIDTH),
        f"{t}embeddings.position_embeddings.weight": (40, TEXT_WIDTH),
    }
    linears = {f"mlp.layers.{place}": sizes for place, sizes in LAYERS.items()}
    norms = {f"{v}norm": WIDTH, f"{t}embeddings.LayerNorm": TEXT_WIDTH}
    for i in range(2):
        block, layer = f"{v}blocks.{i}", f"{t}encoder.layer.{i}"
        norms |= {f"{block}.norm1": WIDTH, f"{block}.norm2": WIDTH}
        linears |= {f"{block}.attn.qkv": (WIDTH, 3 * WIDTH), f"{block}.attn.proj": (WIDTH, WIDTH)}
        linears |= {f"{block}.mlp.fc1": (WIDTH, 2 * WIDTH), f"{block}.mlp.fc2": (2 * WIDTH, WIDTH)}
        for name, source in (("attention", TEXT_WIDTH), ("crossattention", WIDTH)):
            linears |= {f"{layer}.{name}.self.query": (TEXT_WIDTH, TEXT_WIDTH)}
            linears |= {f"{layer}.{name}.self.{part}": (source, TEXT_WIDTH) for part in ("key", "value")}
            linears |= {f"{layer}.{name}.output.dense": (TEXT_WIDTH, TEXT_WIDTH)}
            norms |= {f"{layer}.{name}.output.LayerNorm": TEXT_WIDTH}
        linears |= {f"{layer}.intermediate.dense": (TEXT_WIDTH, 2 * TEXT_WIDTH)}
        linears |= {f"{layer}.output.dense": (2 * TEXT_WIDTH, TEXT_WIDTH)}
        norms |= {f"{layer}.output.LayerNorm": TEXT_WIDTH}
    state = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    state |= {f"{v}patch_embed.proj.weight": torch.randn(WIDTH, 3, PATCH, PATCH) * 0.1}
    state |= {f"{v}patch_embed.proj.bias": torch.randn(WIDTH) * 0.1}
    for name, (n_in, n_out) in linears.items():
        state |= {f"{name}.weight": torch.randn(n_out, n_in) * 0.3, f"{name}.bias": torch.randn(n_out) * 0.1}
    for name, width in norms.items():
        state |= {f"{name}.weight": 1 + torch.randn(width) * 0.2, f"{name}.bias": torch.randn(width) * 0.2}
    return state


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[N, D] queries over [M, D], in heads."""
    q, k, v = (x.reshape(len(x), HEADS, -1).transpose(0, 1) for x in (q, k, v))
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    seen: Tensor = weights @ v
    return seen.transpose(0, 1).flatten(1)


def image_states(state: State, pixels: Tensor) -> Tensor:
    v = "blip.visual_encoder"
    kernel, bias = (state[f"{v}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    patches = F.conv2d(pixels[None], kernel, bias, stride=PATCH)[0].flatten(1).T
    x = torch.cat([state[f"{v}.cls_token"][0], patches]) + state[f"{v}.pos_embed"][0]
    for block in (f"{v}.blocks.{i}" for i in range(2)):
        q, k, value = linear(state, f"{block}.attn.qkv", norm(state, f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + linear(state, f"{block}.attn.proj", attend(q, k, value))
        inner = F.gelu(linear(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", x, 1e-6)))
        x = x + linear(state, f"{block}.mlp.fc2", inner)
    return norm(state, f"{v}.norm", x, 1e-6)


def reward(state: State, pixels: Tensor, ids: list[int]) -> float:
    """One picture, one text without padding; the head layer by layer."""
    t, seen = "blip.text_encoder", image_states(state, pixels)
    words, positions = (state[f"{t}.embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    x = norm(state, f"{t}.embeddings.LayerNorm", words[ids] + positions[: len(ids)], 1e-12)
    for layer in (f"{t}.encoder.layer.{i}" for i in range(2)):
        for name, source in (("attention", None), ("crossattention", seen)):
            other = x if source is None else source
            q = linear(state, f"{layer}.{name}.self.query", x)
            k, v = (linear(state, f"{layer}.{name}.self.{part}", other) for part in ("key", "value"))
            own = linear(state, f"{layer}.{name}.output.dense", attend(q, k, v))
            x = norm(state, f"{layer}.{name}.output.LayerNorm", own + x, 1e-12)
        inner = F.gelu(linear(state, f"{layer}.intermediate.dense", x))
        x = norm(state, f"{layer}.output.LayerNorm", linear(state, f"{layer}.output.dense", inner) + x, 1e-12)
    value = x[0]
    for place in LAYERS:
        value = linear(state, f"mlp.layers.{place}", value)
    return (value.item() - MEAN) / STD


@pytest.fixture(scope="module")
def state() -> State:
    return reward_state()


@pytest.fixture(scope="module")
def metric(state: State, tmp_path_factory: pytest.TempPathFactory) -> ImageReward:
    folder = tmp_path_factory.mktemp("reward")
    torch.save(
        state | {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}, folder / "ImageReward.pt"
    )
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    options = {"weights": folder / "ImageReward.pt", "vocabulary": str(folder), "vision_heads": HEADS}
    made = load_metric("image_reward", {**options, "text_heads": HEADS})
    assert isinstance(made, ImageReward)
    return made


def test_scores_are_those_of_the_original_s_tensors_also_in_a_padded_batch(state: State, metric: ImageReward) -> None:
    texts = ["a b", " ".join("abcdefgh" * 6), "c"]
    images = [picture(i, (60, 40 + 10 * i)) for i in range(3)]
    found = metric.score(images, [Prompt("p", text, "c", 1, None) for text in texts])
    assert [score.truncated for [score] in found] == [False, True, False]
    assert "35 of the prompt's 50 tokens read" in (found[1][0].reason or "")
    pixels = metric._pixels(images)
    for i, text in enumerate(texts):
        ids = metric._tokenizer(text, truncation=True, max_length=35)["input_ids"]
        assert found[i][0].value == pytest.approx(reward(state, pixels[i], ids), abs=1e-4)


def test_files_that_are_not_whole_are_refused_by_name(state: State) -> None:
    with pytest.raises(UserError, match=r"ImageReward.pt are missing: fetch https://huggingface.co/THUDM/ImageReward"):
        load_metric("image_reward", {"weights": None})
    name = "blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"
    with pytest.raises(
        UserError, match=r"file: lacks 1 of \d+ tensors: encoder.layer.1.crossattention.self.key.weight"
    ):
        load_image_reward({key: tensor for key, tensor in state.items() if key != name}, "file", HEADS, HEADS)
    with pytest.raises(UserError, match=r"lacks blip.visual_encoder.patch_embed.proj.weight; expected the original"):
        load_image_reward({"weight": torch.ones(1)}, "file", HEADS, HEADS)
