"""HPSv2's file against an evaluation written out here from its tensors, in plain operations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.metrics.metric import load_metric
from benchmarks.metrics.open_clip import OpenClipEncoder, clip_from_open_clip
from benchmarks.metrics.preference import HpsV2
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import tiny_clip

N_HEADS, WIDTH, TEXT_WIDTH, DIM = 16, 32, 48, 24
PATCH, GRID, CONTEXT, N_WORDS = 8, 3, 16, 514
State = dict[str, Tensor]


def open_clip_state() -> State:
    """Random weights under open_clip's names."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (GRID**2 + 1, WIDTH),
        "visual.proj": (WIDTH, DIM),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
        "token_embedding.weight": (N_WORDS, TEXT_WIDTH),
        "positional_embedding": (CONTEXT, TEXT_WIDTH),
        "text_projection": (TEXT_WIDTH, DIM),
        "logit_scale": (),
    }
    norms = {"visual.ln_pre": WIDTH, "visual.ln_post": WIDTH, "ln_final": TEXT_WIDTH}
    for tower, width in (("visual.transformer", WIDTH), ("transformer", TEXT_WIDTH)):
        for layer in (f"{tower}.resblocks.{i}" for i in range(2)):
            norms |= {f"{layer}.ln_1": width, f"{layer}.ln_2": width}
            linear = {
                "attn.out_proj": (width, width),
                "mlp.c_fc": (3 * width, width),
                "mlp.c_proj": (width, 3 * width),
            }
            shapes |= {f"{layer}.attn.in_proj_weight": (3 * width, width), f"{layer}.attn.in_proj_bias": (3 * width,)}
            shapes |= {f"{layer}.{name}.weight": shape for name, shape in linear.items()}
            shapes |= {f"{layer}.{name}.bias": shape[:1] for name, shape in linear.items()}
    state = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    for name, width in norms.items():
        state |= {f"{name}.weight": 1 + torch.randn(width) * 0.2, f"{name}.bias": torch.randn(width) * 0.2}
    return state


def norm(state: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def tower(state: State, name: str, x: Tensor, causal: bool) -> Tensor:
    for layer in (f"{name}.resblocks.{i}" for i in range(2)):
        n, width = x.shape
        inputs = norm(state, f"{layer}.ln_1", x) @ state[f"{layer}.attn.in_proj_weight"].T
        q, k, v = (
            part.reshape(n, N_HEADS, width // N_HEADS).transpose(0, 1)
            for part in (inputs + state[f"{layer}.attn.in_proj_bias"]).chunk(3, dim=-1)
        )
        weights = q @ k.transpose(1, 2) / (width // N_HEADS) ** 0.5
        if causal:
            weights = weights + torch.full((n, n), float("-inf")).triu(1)
        seen = (weights.softmax(-1) @ v).transpose(0, 1).reshape(n, width)
        x = x + seen @ state[f"{layer}.attn.out_proj.weight"].T + state[f"{layer}.attn.out_proj.bias"]
        inner = norm(state, f"{layer}.ln_2", x) @ state[f"{layer}.mlp.c_fc.weight"].T + state[f"{layer}.mlp.c_fc.bias"]
        x = x + F.gelu(inner) @ state[f"{layer}.mlp.c_proj.weight"].T + state[f"{layer}.mlp.c_proj.bias"]
    return x


def image_embed(state: State, pixels: Tensor) -> Tensor:
    """One picture [3, H, W]."""
    patches = F.conv2d(pixels[None], state["visual.conv1.weight"], stride=PATCH)[0].flatten(1).T
    x = torch.cat([state["visual.class_embedding"][None], patches]) + state["visual.positional_embedding"]
    x = tower(state, "visual.transformer", norm(state, "visual.ln_pre", x), causal=False)
    return norm(state, "visual.ln_post", x[0]) @ state["visual.proj"]


def text_embed(state: State, ids: list[int]) -> Tensor:
    """One text, its end token last."""
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: len(ids)]
    x = tower(state, "transformer", x, causal=True)
    return norm(state, "ln_final", x[-1]) @ state["text_projection"]


@pytest.fixture(scope="module")
def state() -> State:
    return open_clip_state()


@pytest.fixture(scope="module")
def metric(state: State, tmp_path_factory: pytest.TempPathFactory) -> HpsV2:
    folder = tmp_path_factory.mktemp("hps")
    torch.save({"epoch": 1, "state_dict": state}, folder / "HPS_v2.1_compressed.pt")
    made = load_metric("hps", {"weights": folder / "HPS_v2.1_compressed.pt", "tokenizer": str(tiny_clip(folder))})
    assert isinstance(made, HpsV2)
    return made


def test_scores_are_those_of_the_original_s_tensors(state: State, metric: HpsV2) -> None:
    images = [picture(1, (60, 60)), picture(2, (60, 30))]
    texts = ["a cat", "a b c d e f g h i j k l m n o p q r s t"]
    pixels = metric.encoder._processor(images, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (2, 3, GRID * PATCH, GRID * PATCH)
    with torch.inference_mode():
        for i, text in enumerate(texts):
            ids, n_tokens = metric.encoder.token_ids(text)
            expected = F.cosine_similarity(image_embed(state, pixels[i]), text_embed(state, ids), dim=0)
            together = metric.score(images, [Prompt("p", text, "c", 1, None) for text in texts])
            assert together[i][0].value == pytest.approx(100 * expected.item(), abs=1e-3)
            assert together[i][0].truncated is (n_tokens > CONTEXT)


def test_pictures_are_fitted_to_the_longest_side_and_padded_with_black(metric: HpsV2) -> None:
    [pixels] = metric.encoder._processor([picture(2, (60, 30))], return_tensors="pt")["pixel_values"].numpy()
    black = pixels[:, 0, 0]
    assert np.allclose(pixels[:, :6], black[:, None, None])
    assert np.allclose(pixels[:, -6:], black[:, None, None])
    assert not np.allclose(pixels[:, 6:-6], black[:, None, None])


def test_files_that_are_not_whole_are_refused_by_name(state: State, tmp_path: Path) -> None:
    short = {name: tensor for name, tensor in state.items() if name != "visual.ln_post.bias"}
    with pytest.raises(UserError, match=r"file: lacks 1 of \d+ tensors: vision_model.post_layernorm.bias"):
        clip_from_open_clip(short, "file", N_HEADS)
    with pytest.raises(UserError, match=r"file: lacks visual.conv1.weight; expected a CLIP checkpoint of open_clip"):
        clip_from_open_clip({"layer.weight": torch.ones(1)}, "file", N_HEADS)
    with pytest.raises(UserError, match=r"holds 1 tensors that no CLIPModel has: surplus"):
        clip_from_open_clip(state | {"surplus": torch.ones(1)}, "file", N_HEADS)
    torch.save({"state_dict": Path("code")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil.pt: refused: a pickle that holds code"):
        OpenClipEncoder(str(tmp_path / "evil.pt"), processor=str(tmp_path)).encode([picture(1)])
    with pytest.raises(
        UserError, match=r"HPS_v2.1_compressed.pt are missing: fetch https://huggingface.co/xswu/HPSv2"
    ):
        load_metric("hps", {"weights": None})
