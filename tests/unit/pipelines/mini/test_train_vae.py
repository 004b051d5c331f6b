import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini import train as training_loop
from pipelines.mini import train_vae
from pipelines.mini.evaluate_vae import evaluate, model_card, round_trip
from pipelines.mini.train import LossParts, Stage
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, TRAIN_SEED

STAGE = Stage("vae", 2, (0.0, 1e-3), 0.0, steps=3, warmup_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, scenes_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("vae")
    train_vae.train(out, scenes_folder, 8, STAGE, threads=1, seed=0)
    return out


def test_an_interrupted_training_ends_in_the_same_weights(
    run: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = train_vae.reconstruction_losses
    calls = 0

    def interrupted(model: AutoencoderKL, *args: torch.Tensor) -> tuple[torch.Tensor, LossParts]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return losses(model, *args)

    monkeypatch.setattr(training_loop, "CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr(train_vae, "reconstruction_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_vae.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)
    train_vae.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)

    weights = "model/diffusion_pytorch_model.safetensors"
    assert calls == 4
    assert (tmp_path / weights).read_bytes() == (run / weights).read_bytes()


def test_export_is_small_half_precision_and_scaled(run: Path, scenes_folder: Path) -> None:
    weights = load_file(run / "model" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(tensor.nbytes for tensor in weights.values()) < 2_000_000

    model = AutoencoderKL.from_pretrained(run / "model", torch_dtype=torch.float32)
    decoded, latents = round_trip(model, np.load(scenes_folder / "images.npy"))
    assert decoded.shape == (8, 64, 64, 3)
    assert latents.shape == (8, 12, 8, 8)
    assert latents.std().item() == pytest.approx(1, abs=0.01)


def test_targets_name_the_object_that_covers_a_latent() -> None:
    seed = next(s for s in range(TRAIN_SEED, TRAIN_SEED + 100) if len(sample_scene(s, split="train").objects) == 3)
    scene = sample_scene(seed, split="train")
    attributes, offsets = train_vae.cell_targets(seed)
    for o in scene.objects:
        cell = int(o.y // 8) * 8 + int(o.x // 8)
        assert [names[i] for names, i in zip(ATTRIBUTES.values(), attributes[cell], strict=True)] == [
            getattr(o, name) for name in ATTRIBUTES
        ]
        centre = (cell % 8 + 0.5 + offsets[cell, 0], cell // 8 + 0.5 + offsets[cell, 1])
        assert centre == pytest.approx((o.x / 8, o.y / 8), abs=0.01)
    assert {a for a in attributes[:, 0].tolist() if a != NO_OBJECT} == {
        list(ATTRIBUTES["shape"]).index(o.shape) for o in scene.objects
    }


def test_heads_learn_what_the_latents_hold() -> None:
    torch.manual_seed(0)
    attributes = torch.randint(0, 2, (4, 64, 4))
    attributes[:, ::3] = NO_OBJECT
    latents = torch.randn(4, 12, 8, 8)
    for channel in range(4):
        latents[:, channel] += 6 * attributes[..., channel].view(4, 8, 8)
    heads = train_vae.LatentHeads()
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.05)
    offsets = torch.zeros(4, 64, 2)
    losses = []
    for _ in range(200):
        losses.append(heads(latents, attributes, offsets))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]


def test_card_tells_what_was_measured(run: Path) -> None:
    model = AutoencoderKL.from_pretrained(run / "model", torch_dtype=torch.float32)
    measured = evaluate(model, 2, "train")
    assert measured["reader_before"]["object"] == 1.0
    card = model_card(
        json.loads((run / "training.json").read_text()), {"train": measured, "unseen": {**measured, "psnr_db": 12.34}}
    )
    assert f"| PSNR | {measured['psnr_db']:.1f} dB | 12.3 dB |" in card
    assert "3 steps of 2 scenes" in card
    assert "Muon" not in card
