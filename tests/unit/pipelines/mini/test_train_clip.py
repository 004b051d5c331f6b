import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, CLIPModel, CLIPTextModel, CLIPTokenizer

from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini import train as training_loop
from pipelines.mini import train_clip
from pipelines.mini.clip import build_tokenizer
from pipelines.mini.clip_data import encode, texts_of
from pipelines.mini.evaluate_clip import model_card, retrieval, twins
from pipelines.mini.train import Stage
from pipelines.mini.vlm_data import TRAIN_SEED, pixel_values

STAGE = Stage("clip", 4, (1e-3, 1e-3), 0.0, steps=3, warmup_steps=1)


@pytest.fixture(scope="module", autouse=True)
def few_vocabulary_scenes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train_clip, "N_VOCABULARY_SCENES", 200)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, scenes_folder: Path, few_vocabulary_scenes: None) -> Path:
    out = tmp_path_factory.mktemp("clip")
    train_clip.train(out, scenes_folder, 8, STAGE, threads=1, seed=0)
    return out


@pytest.fixture(scope="module")
def tokenizer(run: Path) -> CLIPTokenizer:
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert isinstance(tokenizer, CLIPTokenizer)
    return tokenizer


def test_an_interrupted_training_ends_in_the_same_weights(
    run: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = train_clip.contrastive_losses
    calls = 0

    def interrupted(model: CLIPModel, images: torch.Tensor, texts: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return losses(model, images, texts)

    monkeypatch.setattr(training_loop, "CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr(train_clip, "contrastive_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_clip.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)
    train_clip.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)

    assert calls == 4
    assert (tmp_path / "model/model.safetensors").read_bytes() == (run / "model/model.safetensors").read_bytes()


def test_any_text_is_spelled_and_scene_words_are_whole(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("A red Circle, naïve 日本 🙂").input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red circle , naïve 日本 🙂"
    assert tokenizer.tokenize("a RED circle") == ["a</w>", "red</w>", "circle</w>"]
    assert len(tokenizer) == 1024
    assert tokenizer.model_max_length == 32


def test_short_captions_fit_into_the_context_and_dense_ones_do_not(tokenizer: CLIPTokenizer) -> None:
    texts = [texts_of(TRAIN_SEED + index) for index in range(20)]
    assert all(len(tokenizer(text[0]).input_ids) <= 32 for text in texts)
    assert all(len(tokenizer(text[4]).input_ids) > 32 for text in texts)


def test_vocabulary_has_the_size_asked_for() -> None:
    assert len(build_tokenizer([" ".join(texts_of(TRAIN_SEED + i)) for i in range(100)], vocab_size=600)) == 600


def test_export_loads_whole_and_by_tower(run: Path, tokenizer: CLIPTokenizer) -> None:
    weights = load_file(run / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float16}
    assert sum(tensor.nbytes for tensor in weights.values()) < 1_500_000

    model = CLIPModel.from_pretrained(run / "model").eval()
    text_model = CLIPTextModel.from_pretrained(run / "model").eval()
    assert model.dtype == text_model.dtype == torch.float32
    ids = torch.from_numpy(encode(tokenizer, ["a red circle", "a blue star"]).astype(np.int64))
    states = text_model(ids)
    assert states.last_hidden_state.shape == (2, 32, 96)
    # The pooled state is that of the first end token, behind which there is only padding.
    end = int((ids[0] == tokenizer.eos_token_id).int().argmax())
    assert torch.equal(states.pooler_output[0], states.last_hidden_state[0, end])
    assert torch.allclose(states.pooler_output, model.text_model(ids).pooler_output)


def test_processor_prepares_pixels_as_in_training(run: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    processor = AutoProcessor.from_pretrained(run / "model")
    processed = processor(text=["a star"], images=list(images), return_tensors="pt")
    assert torch.allclose(processed["pixel_values"], pixel_values(images), atol=1e-6)


def test_a_stable_diffusion_pipeline_encodes_prompts_with_it(run: Path, tokenizer: CLIPTokenizer) -> None:
    text_encoder = CLIPTextModel.from_pretrained(run / "model").eval()
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
        cross_attention_dim=96,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    pipeline = StableDiffusionPipeline(
        vae,
        text_encoder,
        tokenizer,
        unet,
        DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
    )
    embeds, negative = pipeline.encode_prompt(["a red circle"], "cpu", 1, do_classifier_free_guidance=True)
    ids = torch.from_numpy(encode(tokenizer, ["a red circle", ""]).astype(np.int64))
    assert torch.allclose(torch.cat([embeds, negative]), text_encoder(ids).last_hidden_state, atol=1e-6)


def test_card_tells_what_was_measured(run: Path, tokenizer: CLIPTokenizer) -> None:
    model = CLIPModel.from_pretrained(run / "model").eval()
    scenes = [sample_scene(index) for index in range(4)]
    found = {name: retrieval(model, tokenizer, scenes, name) for name in ("short", "medium", "dense")}
    assert all(0 <= share <= 1 for ways in found.values() for share in ways.values())
    measured = {
        "retrieval": found,
        "twins": {"colors_swapped": twins(model, tokenizer, "train", "colors_swapped", 4), "relation_mirrored": 0.625},
        "mean_dense_words": 70.0,
    }
    card = model_card(json.loads((run / "training.json").read_text()), {"train": measured, "unseen": measured})
    assert "| twins, relation mirrored | 62.5% | 62.5% |" in card
    assert "3 steps of 4 scenes" in card
