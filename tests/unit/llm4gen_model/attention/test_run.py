from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from llm4gen_data.config import load_config
from llm4gen_data.errors import UsageError
from llm4gen_model.attention.config import AttentionConfig
from llm4gen_model.attention.picture import draw_attention, overlay
from llm4gen_model.attention.run import Look, Reading, attention, look
from llm4gen_model.attention.words import Word, find_words
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.peers.resampler import ResamplerConnector
from tests import factories

# the tiny text encoder reads 22 letters, the tiny language model 10
PROMPT = "a red cube by one oak or blue ivy"


@pytest.fixture(scope="module")
def model() -> Any:
    return factories.cam_model("tiny")


def configured(**values: Any) -> AttentionConfig:
    given = {"model": "tiny", "prompt": PROMPT, "num_inference_steps": 2, **values}
    return load_config(AttentionConfig, flags=given)


def test_every_word_has_a_map_in_each_encoder_that_read_it(model: Any) -> None:
    words = find_words(PROMPT, ["red", "oak", "ivy"])
    image, (clip, llm) = look(model, configured(), words)
    assert [reading.encoder for reading in (clip, llm)] == ["CLIP", "tiny"]
    assert [one.heat is not None for one in clip.looks] == [True, True, False]
    assert [one.heat is not None for one in llm.looks] == [True, False, False]
    for one in (clip.looks[0], llm.looks[0]):
        assert one.heat is not None
        assert one.heat.shape == (4, 4)
        assert 0 < one.share < 1
    embeds = model.prompt_encoder.encode([PROMPT], [""])
    (plain,) = sample_images(model.pipeline, embeds, [0], num_inference_steps=2, guidance_scale=7.5)
    assert (np.asarray(image) == np.asarray(plain)).all()


def test_shares_of_all_tokens_are_one(model: Any) -> None:
    text = "ab"
    whole = Word(text, ((0, 2),))
    _, (clip, llm) = look(model, configured(prompt=text, num_inference_steps=1), [whole])
    encoder = model.prompt_encoder
    n_clip = sum(span is not None for span in encoder.text_token_spans(text))
    n_llm = sum(span is not None for span in encoder.llm.token_spans(text))
    assert (n_clip, n_llm) == (2, 2)
    # with weights that say nothing every token gets about the same
    assert clip.looks[0].share + llm.looks[0].share == pytest.approx(4 / (24 + 12), rel=0.5)


def test_a_resamplers_latents_stand_for_no_word(model: Any) -> None:
    connector = ResamplerConnector(text_dim=32, llm_dim=20, num_layers=1, num_heads=2, num_latents=4).eval()
    encoder = PromptEncoder.from_pipeline(model.pipeline, llm=factories.language_model(), cam=connector)
    resampled = type(model)("resampled", model.pipeline, encoder, {})
    _, readings = look(resampled, configured(), find_words(PROMPT, ["red"]))
    assert [reading.encoder for reading in readings] == ["CLIP"]


def test_the_command_writes_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: model)
    out = tmp_path / "new/picture.png"
    attention(configured(words=["red", "cube", "ivy"], layers=["mid"], num_inference_steps=1), out)
    with Image.open(out) as picture:
        assert picture.width > 320 + 3 * 144
    assert [path.name for path in out.parent.iterdir()] == ["picture.png"]
    for values, line in (({"words": ["green"]}, "word 'green'"), ({"layers": ["nowhere"]}, "layer 'nowhere'")):
        with pytest.raises(UsageError, match=line):
            attention(configured(**values), tmp_path / "other.png")
    with pytest.raises(UsageError, match=r"ends in \.png"):
        attention(configured(), tmp_path / "other.jpg")
    with pytest.raises(UsageError, match="prompt: expected a text"):
        configured(prompt=" ")
    assert not (tmp_path / "other.png").exists()


def test_heat_is_bright_where_the_map_is_high() -> None:
    heat = np.zeros((4, 4))
    heat[0, 0] = 0.02
    lit = np.asarray(overlay(Image.new("RGB", (64, 64), "gray"), heat), dtype=int).sum(axis=-1)
    assert lit[4, 4] > 2 * lit[60, 60]
    flat = np.asarray(overlay(Image.new("RGB", (64, 64), "gray"), np.full((4, 4), 0.5)))
    assert (flat == flat[0, 0]).all()


def test_words_beyond_one_band_go_to_the_next_and_unread_ones_are_said_so() -> None:
    words = [Word(f"word{number}", ((0, 1),)) for number in range(9)]
    looks = [Look(torch.rand(4, 4), 0.1) for _ in words]
    image = Image.new("RGB", (96, 64), "red")
    one = draw_attention("title", "prompt", image, words[:8], [Reading("CLIP", looks[:8])])
    two = draw_attention("title", "prompt", image, words, [Reading("CLIP", looks)])
    assert two.width == one.width
    unread = draw_attention("t", "p", image, words[:1], [Reading("CLIP", [Look(None)])])
    colours = {colour for _, colour in unread.getcolors(10**6) or []}
    assert (241, 241, 241) in colours
